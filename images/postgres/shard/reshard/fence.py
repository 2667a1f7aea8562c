"""The moment of the move. From `shut` to `take` a bucket takes no writes; everything here is a few short commits.

shut     source   waits for writers, refuses new ones, leaves the last marker
caught   target   has applied the marker, so everything; its standby has it, too
close    source   refuses reads: they could be old from now on
flip     shard 0  the map gives the bucket to the target (`journal.flip`)
take     target   takes reads and writes
"""

from __future__ import annotations

import secrets

from psycopg import sql

from shard.reshard import stream, structure, tables
from shard.reshard.journal import Move
from shard.reshard.server import Session

LOCK_TIMEOUT_MS = 300
"""Writers queue behind the lock that waits for a long transaction: rather give up, and try again."""
CATCH_UP_S = 0.5
"""For the last marker, after the one before came through well within it."""
WITHIN_S = 0.5
"""From the first write that waits to the last moment at which it is given back: what comes after are two commits."""
WITHIN_MORE_S = 0.05
"""Added a try, so that servers whose commits are slow get there, too."""
WHOLE_S = 5.0
"""A server that answers nothing for so long is cut off."""


class NotNow(Exception):
    """The fence would stand too long: writes go on at the source, and it is tried again later."""


class Changed(Exception):
    """The bucket's definitions or grants are not what they were when it was copied."""


def shut(source: Session, move: Move) -> str:
    """Refuse writes, once those that have begun are committed; gives the marker that follows them in the stream, one of
    this try alone: what a former try left says nothing of the writes that came after it.

    Raises LockNotAvailable, Changed, Broken; then nothing is refused. A writer that waited for the lock finds its right
    gone: `insufficient_privilege`, which clients read as "moved".
    """
    names = structure.tables(source, move.schema)
    with source.transaction():
        source.run(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MS}")
        if names:
            places = sql.SQL(", ").join(sql.Identifier(move.schema, name) for name in names)
            source.run(sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(places))
        if structure.fingerprint(source, move.schema) != move.fingerprint:
            raise Changed(f"definitions in {move.schema} changed while it was copied")
        if structure.grants(source, move.schema) != move.grants:
            raise Changed(f"grants in {move.schema} changed while it was copied")
        if source.timeline() != move.source_timeline:
            raise stream.Broken(f"{source.server.name} had another primary meanwhile")
        structure.forbid_writes(source, move.schema, move.grants)
        marker = f"{move.schema}-{move.token}-fence-{secrets.token_hex(4)}"
        stream.mark(source, marker)
    return marker


def caught(source: Session, target: Session, move: Move, marker: str) -> None:
    """Wait for the last marker, and then for the target's standby. Raises NotNow, Broken."""
    if not stream.arrived(target, marker, CATCH_UP_S, stream.FENCED_POLL_S):
        raise NotNow(f"{target.server.name} was more than {CATCH_UP_S:.1f} s behind")
    structure.set_sequences(target, move.schema, structure.sequences(source, move.schema))
    with target.transaction():
        stream.mark(target, f"{marker}-barrier")
        if target.timeline() != move.target_timeline:
            raise stream.Broken(f"{target.server.name} had another primary meanwhile, which may lack applied rows")


def close(source: Session, move: Move) -> None:
    """Refuse everything."""
    with source.transaction():
        structure.forbid(source, move.schema, move.grants)


def reopen(source: Session, move: Move) -> None:
    """Take writes again at the source: the move did not come to its flip."""
    with source.transaction():
        structure.permit(source, move.schema, move.grants)


def take(target: Session, move: Move, version: int, owners: tuple[int, ...]) -> None:
    """Take writes at the target, and tell clients of the map."""
    with target.transaction():
        structure.permit(target, move.schema, move.grants)
        target.run("INSERT INTO headroom.bucket (bucket) VALUES (%s) ON CONFLICT DO NOTHING", (move.bucket,))
        tables.copy_map(target.connection, version, owners)


def leave(source: Session, move: Move, version: int, owners: tuple[int, ...]) -> None:
    """Have the source know that the bucket is not its own any more. Its former copy may be gone already."""
    with source.transaction():
        if structure.exists(source, move.schema):
            structure.forbid(source, move.schema, move.grants)
        source.run("DELETE FROM headroom.bucket WHERE bucket = %s", (move.bucket,))
        tables.copy_map(source.connection, version, owners)
