"""Publication and slot at the source, subscription at the target: what is committed there is applied here.

The slot is made before (with the copy's snapshot), so publication and subscription are ordinary transactional changes:
made and dropped in milliseconds, and gone as a whole when the transaction fails.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence

import psycopg
from psycopg import sql

from shard.reshard.journal import Move
from shard.reshard.server import Server, Session

POLL_S = 0.02
FENCED_POLL_S = 0.002
"""While writes wait; otherwise it would only take from them."""


class Broken(Exception):
    """The stream cannot go on as it is: the bucket's copy begins again."""


def publish(source: Session, move: Move, tables: Sequence[str]) -> None:
    """Tell of these tables and of the bucket's markers. By name: a table that is made meanwhile keeps working."""
    own = sql.SQL("{} WHERE (starts_with(token, {}))").format(
        sql.Identifier("headroom", "marker"), sql.Literal(f"{move.schema}-")
    )
    places = [own, *(sql.Identifier(move.schema, table) for table in tables)]
    with source.transaction():
        source.run(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(move.publication)))
        source.run(
            sql.SQL("CREATE PUBLICATION {} FOR TABLE {}").format(
                sql.Identifier(move.publication), sql.SQL(", ").join(places)
            )
        )


def subscribe(source: Server, target: Session, move: Move) -> None:
    """Apply what the slot tells, from the snapshot on.

    Applied transactions need not wait for the target's standby one by one: one commit before the flip waits for all.
    """
    with target.transaction():
        target.run(
            sql.SQL(
                "CREATE SUBSCRIPTION {} CONNECTION {} PUBLICATION {} WITH (slot_name = {}, create_slot = false, "
                "copy_data = false, enabled = true, synchronous_commit = 'off')"
            ).format(
                sql.Identifier(move.publication),
                sql.Literal(source.conninfo()),
                sql.Identifier(move.publication),
                sql.Literal(move.slot),
            )
        )


def unsubscribe(target: Session, publication: str) -> None:
    """Stop applying. The source is not asked: it may be away."""
    with target.transaction():
        found = target.one(
            "SELECT 1 FROM pg_subscription WHERE subname = %s AND subdbid = "
            "(SELECT oid FROM pg_database WHERE datname = current_database())",
            (publication,),
        )
        if found:
            name = sql.Identifier(publication)
            target.run(sql.SQL("ALTER SUBSCRIPTION {} DISABLE").format(name))
            target.run(sql.SQL("ALTER SUBSCRIPTION {} SET (slot_name = NONE)").format(name))
            target.run(sql.SQL("DROP SUBSCRIPTION {}").format(name))


def unpublish(source: Session, publication: str, seconds: float = 10) -> None:
    """Drop the publication and every slot of it; a walsender that still reads from one is ended."""
    source.run(sql.SQL("DROP PUBLICATION IF EXISTS {}").format(sql.Identifier(publication)))
    deadline = time.monotonic() + seconds
    pattern = publication.replace("_", r"\_") + r"\_%"
    while slots := source.all(
        "SELECT slot_name, active_pid FROM pg_replication_slots WHERE slot_name LIKE %s", (pattern,)
    ):
        for name, pid in slots:
            if pid is not None:
                source.run("SELECT pg_terminate_backend(%s)", (pid,))
            with contextlib.suppress(psycopg.errors.ObjectInUse, psycopg.errors.UndefinedObject):
                source.run("SELECT pg_drop_replication_slot(%s)", (name,))
        if time.monotonic() > deadline:
            raise TimeoutError(f"{source.server.name}: slot {slots[0][0]} stays in use")
        time.sleep(0.02)


def mark(source: Session, token: str) -> None:
    """Leave a marker in the stream."""
    source.run("INSERT INTO headroom.marker (token) VALUES (%s) ON CONFLICT DO NOTHING", (token,))


def arrived(target: Session, token: str, seconds: float, poll_s: float = POLL_S) -> bool:
    """Whether the marker, and so everything that was committed before it, has been applied within that time."""
    deadline = time.monotonic() + seconds
    while not target.one("SELECT 1 FROM headroom.marker WHERE token = %s", (token,)):
        if time.monotonic() > deadline:
            return False
        time.sleep(poll_s)
    return True


def unmark(session: Session, move: Move) -> None:
    """Remove the markers of a move, of all its attempts."""
    session.run("DELETE FROM headroom.marker WHERE token LIKE %s", (f"{move.schema}-%",))


def lag_bytes(source: Session, move: Move) -> int:
    """How much WAL the target has not confirmed yet. Raises Broken where the slot is gone or useless."""
    row = source.one(
        "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint, wal_status "
        "FROM pg_replication_slots WHERE slot_name = %s",
        (move.slot,),
    )
    if row is None or row[1] == "lost":
        raise Broken(f"{source.server.name} has no slot {move.slot} any more: it had another primary, or lost its WAL")
    return int(row[0])
