"""A bucket that the target follows becomes the target's, in a moment that suits."""

from __future__ import annotations

import time

import psycopg

from shard.reshard import fence, journal, stream, structure
from shard.reshard.context import Context, Stopped, reason
from shard.reshard.journal import Move, Step
from shard.reshard.server import Session

READY_S = 0.25
"""A marker that needs longer says that the target is still behind."""
PING_S = 20.0
LATER_S = 1.0
TRIES = 60
"""Of the fence, a bucket: each is a moment's pause."""


def cross(context: Context, lead: Session, source: Session, target: Session, witness: Session, move: Move) -> Move:
    """Wait until the target is close behind, then fence and flip; a moment that does not suit is let pass."""
    context.ready()
    for attempt in range(TRIES):
        try:
            _await_target(context, source, target, move, attempt)
        except stream.Broken:
            journal.write(lead, move.bucket, Step.copying)  # from the beginning, then
            raise
        if context.stopping():
            raise Stopped
        context.fences.begin(move.bucket)
        crossed = _try(context, lead, source, target, witness, move, attempt)
        context.fences.end(move.bucket)
        if not crossed:
            time.sleep(LATER_S)
        move = journal.confirmed(lead, move.bucket)
        if crossed:
            return move
    raise TimeoutError(
        f"the fence could not be closed in {TRIES} tries: a transaction holds the bucket, or the load is more than the "
        "target applies"
    )


def _try(
    context: Context, lead: Session, source: Session, target: Session, witness: Session, move: Move, attempt: int
) -> bool:
    """Fence, flip, and take writes at the target; False where the source takes them again."""
    journal.write(lead, move.bucket, Step.fencing, grants=structure.grants(source, move.schema))
    move = journal.confirmed(lead, move.bucket)
    context.reached("fencing", move.bucket)
    began = time.monotonic()
    try:
        with source.limit(fence.WHOLE_S), target.limit(fence.WHOLE_S), lead.limit(fence.WHOLE_S):
            marker = fence.shut(source, move)
            context.reached("shut", move.bucket)
            fence.caught(source, target, move, marker)
            _in_time(began, attempt)
            _look_and_close(context, source, witness, move)
            _in_time(began, attempt)  # the last moment: from the flip on it only goes on
            journal.flip(lead, move)
            context.reached("flipped", move.bucket)
    except (fence.NotNow, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
        fence.reopen(source, move)
        journal.write(lead, move.bucket, Step.following, said=reason(error))
        return False
    version, owners = journal.map_of(lead)
    with target.limit(fence.WHOLE_S):
        fence.take(target, move, version, owners)
    pause = time.monotonic() - began
    context.reached("taken", move.bucket)
    journal.write(lead, move.bucket, Step.opened, pause_ms=pause * 1000, said="")
    context.reached("opened", move.bucket)
    return True


def _in_time(began: float, attempt: int) -> None:
    """Raises NotNow where writes have waited for too long already."""
    within = fence.WITHIN_S + attempt * fence.WITHIN_MORE_S
    if time.monotonic() - began > within:
        raise fence.NotNow(f"writes had waited for more than {within:.2f} s")


def _look_and_close(context: Context, source: Session, witness: Session, move: Move) -> None:
    # What the target has now is what the source has for good: to be compared when writes go on.
    witness.connection.rollback()  # a former try may have looked already
    witness.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    witness.run("SELECT 1")
    context.reached("caught", move.bucket)
    fence.close(source, move)
    context.reached("closed", move.bucket)


def _await_target(context: Context, source: Session, target: Session, move: Move, attempt: int) -> None:
    """Until a marker comes through at once. Raises Broken where nothing comes through at all."""
    silent = 0
    for ping in range(1_000_000):
        token = f"{move.schema}-{move.token}-{attempt}-{ping}"
        sent = time.monotonic()
        stream.mark(source, token)
        if not stream.arrived(target, token, PING_S):
            silent += 1
            stream.lag_bytes(source, move)
            if silent > 15:
                raise stream.Broken(f"{target.server.name} applies nothing any more")
        elif time.monotonic() - sent <= READY_S:
            return
        if context.stopping():
            return
        context.hold()
