"""Rows of one snapshot from shard to shard, throttled, and checksums that prove that they are the same.

The copy goes through here, not through the subscription's own: so it can be slowed down, its progress is known, and it
is of exactly the snapshot that the slot begins after, whose checksum can be taken without a fence.
"""

from __future__ import annotations

import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

from shard.reshard.server import Server, Session
from shard.reshard.throttle import Throttle

CHUNK = 256 * 1024
SILENCE_S = 30.0
"""A server that says nothing for so long in the middle of a copy is given up."""
SAME_EVERYWHERE = (
    *("bool", "int2", "int4", "int8", "float4", "float8", "numeric", "text", "varchar", "bpchar", "bytea", "uuid"),
    *("date", "time", "timetz", "timestamp", "timestamptz", "interval", "json", "jsonb", "inet", "cidr"),
)
"""Types whose binary form means the same on another server. One that holds a number of this server's catalog, such as
regclass or an enum of one's own, does not, or need not."""


@dataclass(frozen=True)
class Sum:
    """Of a table's rows in any order: how many, and the sum of their hashes."""

    rows: int
    hashes: int


@contextmanager
def slot_with_snapshot(source: Server, holder: str, slot: str) -> Iterator[str]:
    """A logical slot, and within the block the snapshot of the moment from which it tells of changes.

    Making it waits for the transactions that write at the source now. The slot stays.
    """
    connection = source.connect(holder, replication="database", options="-c idle_in_transaction_session_timeout=0")
    try:
        row = connection.execute(
            sql.SQL("CREATE_REPLICATION_SLOT {} LOGICAL pgoutput (SNAPSHOT 'export')").format(sql.Identifier(slot))
        ).fetchone()
        if row is None:
            raise psycopg.OperationalError("the slot gave no snapshot")
        yield str(row[2])
    finally:
        connection.close()


@contextmanager
def reading(session: Session, snapshot: str | None = None) -> Iterator[None]:
    """A transaction that sees one moment: that of the snapshot, or now."""
    session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    try:
        if snapshot:
            session.run(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(sql.Literal(snapshot)))
        else:
            session.run("SELECT 1")
        yield
    finally:
        if not session.connection.closed:
            session.connection.rollback()


def columns(session: Session, schema: str, table: str) -> list[str]:
    """Those that hold data of their own; generated ones are computed again."""
    found = session.all(
        "SELECT attname FROM pg_attribute WHERE attrelid = format('%%I.%%I', %s::text, %s::text)::regclass "
        "AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attnum",
        (schema, table),
    )
    return [str(name) for (name,) in found]


def copy(
    source: Session, target: Session, schema: str, table: str, throttle: Throttle, told: Callable[[int], None]
) -> int:
    """All rows that the source's transaction sees, into the empty table at the target; returns the bytes."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns(source, schema, table)))
    form = sql.SQL("(FORMAT {})").format(sql.SQL("binary" if binary(source, schema, table) else "text"))
    place = sql.Identifier(schema, table)
    total = 0
    with target.connection.cursor().copy(sql.SQL("COPY {} ({}) FROM STDIN {}").format(place, names, form)) as out:
        for chunk in _stream(source, sql.SQL("COPY {} ({}) TO STDOUT {}").format(place, names, form)):
            throttle.take(len(chunk))
            out.write(chunk)
            total += len(chunk)
            told(len(chunk))
    return total


def binary(session: Session, schema: str, table: str) -> bool:
    """Whether the rows can go as the servers hold them: numbers need not be written and read as text, which is most of
    what a copy costs."""
    row = session.one(
        "SELECT bool_and(n.nspname = 'pg_catalog' AND coalesce(e.typname, t.typname) = ANY(%s)) "
        "FROM pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid "
        "JOIN pg_namespace AS n ON n.oid = t.typnamespace "
        "LEFT JOIN pg_type AS e ON e.oid = t.typelem AND t.typcategory = 'A' "
        "WHERE a.attrelid = format('%%I.%%I', %s::text, %s::text)::regclass "
        "AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''",
        (list(SAME_EVERYWHERE), schema, table),
    )
    return row[0] is True


def checksum(session: Session, schema: str, table: str) -> Sum:
    """Of the rows that the session sees; the same for the same rows on another server of the same version."""
    place = sql.Identifier(schema, table)
    query = "SELECT count(*), coalesce(sum({}), 0) FROM {} AS t"
    fast, slow = "hash_record_extended(t.*, 0)", "hashtextextended(t::text, 0)"
    # Types such as json have no hash of their own.
    hashed = session.one(
        "SELECT count(*) = 0 FROM pg_attribute AS a WHERE a.attrelid = format('%%I.%%I', %s::text, %s::text)::regclass "
        "AND a.attnum > 0 AND NOT a.attisdropped AND NOT EXISTS (SELECT FROM pg_opclass AS o JOIN pg_am AS m "
        "ON m.oid = o.opcmethod WHERE m.amname = 'hash' AND o.opcdefault AND o.opcintype = a.atttypid)",
        (schema, table),
    )[0]
    rows, hashes = session.one(sql.SQL(query).format(sql.SQL(fast if hashed else slow), place))
    return Sum(int(rows), int(hashes))


def _stream(session: Session, statement: sql.Composed) -> Iterator[bytes]:
    """What COPY … TO STDOUT sends, in chunks. libpq gives it a row at a time, which Python is too slow to pass on."""
    raw: Any = session.connection.pgconn
    raw.send_query(statement.as_bytes(session.connection))
    while raw.flush():
        select.select([], [raw.socket], [], SILENCE_S)
    _result(raw, ExecStatus.COPY_OUT)
    held: list[bytes] = []
    size = 0
    while True:
        count, data = raw.get_copy_data(1)
        if count > 0:
            held.append(bytes(data))
            size += count
            if size >= CHUNK:
                yield b"".join(held)
                held, size = [], 0
        elif count == 0:
            _wait(raw)
        else:
            break
    _result(raw, ExecStatus.COMMAND_OK)
    while raw.get_result() is not None:
        pass
    if held:
        yield b"".join(held)


def _wait(raw: Any) -> None:
    readable, _, _ = select.select([raw.socket], [], [], SILENCE_S)
    if not readable:
        raise psycopg.OperationalError(f"the source said nothing for {SILENCE_S:.0f} s")
    raw.consume_input()


def _result(raw: Any, wanted: ExecStatus) -> None:
    while raw.is_busy():
        _wait(raw)
    result = raw.get_result()
    if result is None or result.status != wanted:
        said = (result.error_message if result else raw.error_message) or b""
        text = said if isinstance(said, str) else said.decode(errors="replace")
        raise psycopg.OperationalError(f"COPY at the source failed: {text.strip()[:300]}")
