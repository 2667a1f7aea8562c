"""What cannot work, found before anything is moved, each with what to do about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import psycopg

from shard.reshard.context import Context
from shard.reshard.server import Session

Moves = Iterable[tuple[int, int, int]]
SPARE_BYTES = 256 << 20
"""Beside the rows: write-ahead log and what the servers need for themselves."""
_FREE = (
    "CREATE TEMPORARY TABLE free_space (line text); COPY free_space FROM PROGRAM 'df --output=avail --block-size=1 .'"
)
_TABLES = """
SELECT c.relname, c.relkind, c.relpersistence, c.relispartition, o.rolname, o.rolsuper, c.relreplident,
       EXISTS (SELECT FROM pg_index WHERE indrelid = c.oid AND indisprimary AND indisvalid) AS keyed,
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attacl IS NOT NULL) AS by_column,
       EXISTS (SELECT FROM pg_subscription_rel WHERE srrelid = c.oid) AS subscribed
FROM pg_class AS c JOIN pg_roles AS o ON o.oid = c.relowner
WHERE c.relnamespace = to_regnamespace(%s) AND c.relkind IN ('r', 'p', 'f', 'm')
"""


class Refused(Exception):
    """It cannot work; running it again would not help. The text says what to change."""


@dataclass(frozen=True)
class Incoming:
    """What a shard is to take: buckets, and their size on disk."""

    buckets: int
    size: int


def check(context: Context, moves: Moves, parallel: int, spare: int = SPARE_BYTES) -> Mapping[int, Incoming]:
    """What each shard is going to take. Raises Refused with every reason there is."""
    moves = list(moves)
    by_source: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for bucket, source, target in moves:
        by_source[source].append((bucket, target))
    found: list[str] = []
    sizes: dict[int, list[int]] = defaultdict(list)
    versions: dict[int, int] = {}
    for shard in sorted({s for _, s, _ in moves} | {t for _, _, t in moves}):
        with context.session(shard) as session:
            versions[shard] = _version(session)
            found += _settings(session, parallel)
            for bucket, target in by_source[shard]:
                found += _bucket(session, bucket)
                sizes[target].append(_size(session, bucket))
    if len(set(versions.values())) > 1:
        said = ", ".join(f"shard {shard} has PostgreSQL {version}" for shard, version in versions.items())
        found.append(f"{said}: bring all to one version first, then move")
    incoming = {shard: Incoming(len(each), sum(each)) for shard, each in sizes.items()}
    for shard, taken in incoming.items():
        with context.session(shard) as session:
            found += _target(session, [b for b, _, t in moves if t == shard], taken.size + spare)
    if found:
        raise Refused("; ".join(dict.fromkeys(found)))
    return incoming


def _version(session: Session) -> int:
    return session.connection.info.server_version // 10_000


def _settings(session: Session, parallel: int) -> Iterator[str]:
    name = session.server.name
    if session.one("SHOW wal_level")[0] != "logical":
        yield f"{name}: wal_level is not logical: set it, which needs a restart"
    free = session.one(
        "SELECT current_setting('max_replication_slots')::int - (SELECT count(*) FROM pg_replication_slots), "
        "least(current_setting('max_logical_replication_workers')::int, current_setting('max_worker_processes')::int)"
    )
    if free[0] < parallel:
        yield f"{name}: {free[0]} replication slots are free and {parallel} moves at once want one each: " \
              "lower maxParallelMoves, or raise max_replication_slots"  # fmt: skip
    if free[1] < parallel:
        yield f"{name}: max_logical_replication_workers and max_worker_processes allow {free[1]} moves at once: " \
              "lower maxParallelMoves"  # fmt: skip


def _bucket(session: Session, bucket: int) -> Iterator[str]:
    schema = f"b{bucket:03d}"
    for name, kind, persistence, part, owner, superuser, identity, keyed, by_column, subscribed in session.all(
        _TABLES, (schema,)
    ):
        what = f"{session.server.name}: {schema}.{name}"
        if kind != "r" or part:
            yield f"{what} is not an ordinary table, and only those are moved: take it out of the bucket's schema"
            continue
        if persistence != "p":
            yield f"{what} is unlogged, so its rows cannot be followed: ALTER TABLE {schema}.{name} SET LOGGED"
        if identity == "n" or (identity == "d" and not keyed):
            yield f"{what} has no replica identity, so its updates cannot be followed: " \
                  f"ALTER TABLE {schema}.{name} ADD PRIMARY KEY (…), or REPLICA IDENTITY FULL"  # fmt: skip
        if not superuser:
            yield f"{what} belongs to {owner}, who can write whatever the fence says: " \
                  f"ALTER TABLE {schema}.{name} OWNER TO postgres"  # fmt: skip
        if by_column:
            yield f"{what} has grants on single columns, which the fence does not know: grant on the table"
        if subscribed:
            yield f"{what} is the target of a subscription of somebody's: drop that first"


def _size(session: Session, bucket: int) -> int:
    row = session.one(
        "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::bigint FROM pg_class "
        "WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'",
        (f"b{bucket:03d}",),
    )
    return int(row[0])


def _target(session: Session, buckets: list[int], needed: int) -> Iterator[str]:
    name = session.server.name
    for bucket in buckets:
        schema = f"b{bucket:03d}"
        if session.one("SELECT 1 FROM headroom.bucket WHERE bucket = %s", (bucket,)):
            yield f"{name} says that it owns bucket {bucket} already, and the map says otherwise: headroom verify"
        tables = session.all(
            "SELECT relname FROM pg_class WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'", (schema,)
        )
        for (table,) in tables:
            query = psycopg.sql.SQL("SELECT EXISTS (SELECT FROM {})").format(psycopg.sql.Identifier(schema, table))
            if session.one(query)[0]:
                yield f"{name} has rows in {schema}.{table}, a bucket that is not its own: save what is of worth, " \
                      f"then DROP SCHEMA {schema} CASCADE there"  # fmt: skip
    try:
        with session.transaction():
            session.run(_FREE)
            free = int(session.one("SELECT line FROM free_space WHERE line ~ '^ *[0-9]+$'")[0])
            session.run("DROP TABLE free_space")
    except psycopg.Error:
        return  # a server without df says nothing of its space
    if free < needed:
        yield f"{name} has {free / 1e9:.1f} GB free and needs {needed / 1e9:.1f} GB for what moves there: give it " \
              "more room (a larger dataset, growth or volumeSize in the stack file), then run it again"  # fmt: skip
