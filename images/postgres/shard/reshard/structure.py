"""A bucket's tables on another shard: their definitions, who may do what with them, and whether they changed."""

from __future__ import annotations

import subprocess
from typing import Literal

from psycopg import sql

from shard.reshard.server import Server, Session

Grant = list[str]
"""Kind (schema, table, sequence), name, privilege, role, and `grantable` or nothing."""
WRITES = {"INSERT", "UPDATE", "DELETE", "TRUNCATE"}

_GRANTS = """
SELECT kind, name, privilege_type, rolname, CASE WHEN is_grantable THEN 'grantable' ELSE '' END FROM (
    SELECT 'schema' AS kind, n.nspname AS name, n.nspowner AS owner, aclexplode(n.nspacl) AS acl
    FROM pg_namespace AS n WHERE n.nspname = %s
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence' ELSE 'table' END, c.relname, c.relowner, aclexplode(c.relacl)
    FROM pg_class AS c WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind IN ('r', 'S', 'v')
) AS found, LATERAL (SELECT (acl).grantee, (acl).privilege_type, (acl).is_grantable) AS one
JOIN LATERAL (
    SELECT CASE WHEN grantee = 0 THEN 'public' ELSE pg_get_userbyid(grantee)::text END AS rolname
) AS role ON true
WHERE grantee <> owner ORDER BY 1, 2, 3, 4
"""
# Names without the schema: the same tables have the same fingerprint wherever they are.
_FINGERPRINT = """
SELECT md5(coalesce(string_agg(line, E'\\n' ORDER BY line), '')) FROM (
    SELECT concat_ws('|', 'relation', c.relname, c.relkind, c.relpersistence, c.relreplident, c.relrowsecurity)
    FROM pg_class AS c WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind <> 'i'
    UNION ALL
    SELECT concat_ws('|', 'column', c.relname, a.attname, a.attnum, format_type(a.atttypid, a.atttypmod), a.attnotnull,
                     a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid))
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relnamespace = to_regnamespace(%(schema)s) AND c.relkind = 'r'
    UNION ALL
    SELECT concat_ws('|', 'constraint', conname, pg_get_constraintdef(oid), convalidated)
    FROM pg_constraint WHERE connamespace = to_regnamespace(%(schema)s)
    UNION ALL
    SELECT concat_ws('|', 'index', pg_get_indexdef(i.indexrelid), i.indisvalid)
    FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
    WHERE c.relnamespace = to_regnamespace(%(schema)s)
    UNION ALL
    SELECT concat_ws('|', 'trigger', c.relname, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid))
    FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = to_regnamespace(%(schema)s) AND NOT t.tgisinternal
    UNION ALL
    SELECT concat_ws('|', 'function', oid::regprocedure, md5(prosrc))
    FROM pg_proc WHERE pronamespace = to_regnamespace(%(schema)s)
) AS lines (line)
"""


def tables(session: Session, schema: str) -> list[str]:
    """The names of its tables, in an order that is the same everywhere."""
    found = session.all(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r' ORDER BY 1", (schema,)
    )
    return [str(name) for (name,) in found]


def exists(session: Session, schema: str) -> bool:
    """Whether the shard has the schema."""
    return session.one("SELECT to_regnamespace(%s) IS NOT NULL", (schema,))[0] is True


def fingerprint(session: Session, schema: str) -> str:
    """What changes when a definition in the schema does, and with nothing else."""
    return str(session.one(_FINGERPRINT, {"schema": schema})[0])  # type: ignore[arg-type]


def definitions(source: Server, schema: str) -> bytes:
    """The schema's tables, indexes, constraints, triggers and functions, without owners and grants, for `define`.

    Raises subprocess.CalledProcessError.
    """
    command = ["pg_dump", "--format=custom", "--schema-only", f"--schema={schema}", "--no-owner", "--no-privileges",
               "--no-publications", "--no-subscriptions", "--no-comments", "--lock-wait-timeout=5000"]  # fmt: skip
    return _output(command, source.environment())


def define(dump: bytes, target: Session, section: Literal["pre-data", "post-data"]) -> None:
    """Make the tables (`pre-data`), or their indexes, constraints and triggers (`post-data`), at the target.

    Nobody but the mover can write there. The session is of no use afterwards: the definitions come with settings.
    Raises subprocess.CalledProcessError.
    """
    command = ["pg_restore", f"--section={section}", "--no-owner", "--no-privileges", "--file=-"]
    text = _output(command, None, dump).decode()
    # Lines for psql alone begin with a backslash.
    script = "\n".join(line for line in text.splitlines() if not line.startswith("\\"))
    with target.transaction():
        target.run(script.encode())  # type: ignore[arg-type]


def _output(command: list[str], environment: dict[str, str] | None, given: bytes = b"") -> bytes:
    done = subprocess.run(command, env=environment, input=given, capture_output=True, check=True, timeout=300)
    return done.stdout


def drop(session: Session, schema: str) -> None:
    """Remove the schema, waiting for readers in small turns so that nobody queues behind it for long."""
    with session.transaction():
        session.run("SET LOCAL lock_timeout = '1s'")
        session.run(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def grants(session: Session, schema: str) -> list[Grant]:
    """Who but the owner may do what with the schema and what is in it."""
    return [[str(field) for field in row] for row in session.all(_GRANTS, (schema, schema))]


def permit(session: Session, schema: str, given: list[Grant]) -> None:
    """Give these rights; those that are there stay."""
    for kind, name, privilege, role, grantable in given:
        session.run(
            sql.SQL("GRANT {} ON {} {} TO {}{}").format(
                sql.SQL(privilege), sql.SQL(kind.upper()), _name(kind, schema, name), _role(role),
                sql.SQL(" WITH GRANT OPTION" if grantable else ""),
            )
        )  # fmt: skip


def forbid_writes(session: Session, schema: str, given: list[Grant]) -> None:
    """Take the right to write from everybody who has it. Sequences count: a number taken now would be given again."""
    for kind, name, privilege, role, _ in given:
        if (kind == "table" and privilege in WRITES) or (kind == "sequence" and privilege in ("USAGE", "UPDATE")):
            session.run(
                sql.SQL("REVOKE {} ON {} {} FROM {} CASCADE").format(
                    sql.SQL(privilege), sql.SQL(kind.upper()), _name(kind, schema, name), _role(role)
                )
            )


def forbid(session: Session, schema: str, given: list[Grant]) -> None:
    """Take every right: what is read here from now on could be old."""
    for kind, name, role in sorted({(kind, name, role) for kind, name, _, role, _ in given}):
        session.run(
            sql.SQL("REVOKE ALL ON {} {} FROM {} CASCADE").format(
                sql.SQL(kind.upper()), _name(kind, schema, name), _role(role)
            )
        )


def sequences(session: Session, schema: str) -> list[tuple[str, int, bool]]:
    """Name, last value, and whether that was given out, of every sequence."""
    names = session.all(
        "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'S' ORDER BY 1", (schema,)
    )
    found = []
    for (name,) in names:
        last, called = session.one(sql.SQL("SELECT last_value, is_called FROM {}").format(sql.Identifier(schema, name)))
        found.append((str(name), int(last), bool(called)))
    return found


def set_sequences(session: Session, schema: str, values: list[tuple[str, int, bool]]) -> None:
    """Go on where they stood."""
    for name, last, called in values:
        session.run("SELECT setval(format('%%I.%%I', %s::text, %s::text)::regclass, %s, %s)",
                    (schema, name, last, called))  # fmt: skip


def _name(kind: str, schema: str, name: str) -> sql.Composable:
    return sql.Identifier(name) if kind == "schema" else sql.Identifier(schema, name)


def _role(role: str) -> sql.Composable:
    return sql.SQL("PUBLIC") if role == "public" else sql.Identifier(role)
