"""One bucket from its shard to another: from wherever the journal says that it stands, on to the end or back."""

from __future__ import annotations

import logging
import subprocess
import time
from contextlib import ExitStack, suppress

import psycopg

from shard.reshard import crossing, fence, filling, journal, stream, structure
from shard.reshard.context import Context, Differs, reason
from shard.reshard.journal import Move, Step
from shard.reshard.server import Session, Unconfirmed
from shard.reshard.tables import LEAD

log = logging.getLogger("reshard")
LATER_S = 1.0
ATTEMPTS = 20
PATIENCE_S = 300.0
"""A failover takes half a minute; a shard that is away for longer is for a person."""
TRANSIENT = (
    psycopg.Error,
    OSError,
    stream.Broken,
    fence.Changed,
    Unconfirmed,
    subprocess.SubprocessError,
    TimeoutError,
)


def carry_out(context: Context, bucket: int) -> None:
    """Move it, through failovers of either side: what they break is begun again.

    Raises Stopped, Differs, Superseded, and the last failure when nothing helps.
    """
    attempts, since = 0, time.monotonic()
    while True:
        try:
            return _go_on(context, bucket)
        except TRANSIENT as error:
            attempts += 1
            why = reason(error)
            log.warning("bucket %d: %s; again", bucket, why)
            if attempts >= ATTEMPTS and time.monotonic() - since > PATIENCE_S:
                raise
            with suppress(psycopg.Error, Unconfirmed):  # shard 0 may be what is away
                context.hold()
                with context.session(LEAD) as lead:
                    journal.note(lead, bucket, {"said": why})
            time.sleep(min(LATER_S, 0.05 * 2**attempts))


def let_write(context: Context, bucket: int) -> None:
    """Have its writes go on where a mover died while they waited: at the source, or past the flip at the target."""
    with context.session(LEAD) as lead:
        move = journal.confirmed(lead, bucket)
        if move.step is Step.fencing:
            with context.session(move.source) as source:
                _reopen(context, lead, source, move)
        elif move.step is Step.flipped:
            with context.session(move.target) as target:
                _open(context, lead, target, move)


def take_back(context: Context, bucket: int) -> None:
    """Have the bucket where it was before its move. Raises ValueError for one that is past its flip."""
    with context.session(LEAD) as lead:
        move = journal.confirmed(lead, bucket)
        if move.step not in journal.BEFORE_FLIP:
            raise ValueError(f"bucket {bucket} is the target's already")
        with context.session(move.source) as source:
            if move.step is Step.fencing:
                fence.reopen(source, move)
            with context.session(move.target) as target:
                _undo(lead, source, target, move)


def _go_on(context: Context, bucket: int) -> None:
    with ExitStack() as stack:
        lead = stack.enter_context(context.session(LEAD))
        move = journal.confirmed(lead, bucket)
        if move.step is Step.done:
            return
        source = stack.enter_context(context.session(move.source))
        if move.step is Step.fencing:  # before anything that may have to be waited for
            _reopen(context, lead, source, move)
            move = journal.confirmed(lead, bucket)
        target = stack.enter_context(context.session(move.target))
        witness = None
        if move.step in journal.BEFORE_FLIP:
            if move.step is not Step.following or not _healthy(source, target, move):
                _undo(lead, source, target, move)
                move = filling.fill(context, lead, source, target, bucket)
            witness = stack.enter_context(context.session(move.target))
            move = crossing.cross(context, lead, source, target, witness, move)
        _finish(context, lead, source, target, witness, move)


def _reopen(context: Context, lead: Session, source: Session, move: Move) -> None:
    fence.reopen(source, move)
    context.fences.end(move.bucket)
    journal.write(lead, move.bucket, Step.following)


def _open(context: Context, lead: Session, target: Session, move: Move) -> None:
    fence.take(target, move, *journal.map_of(lead))
    context.fences.end(move.bucket)
    journal.write(lead, move.bucket, Step.opened)


def _finish(
    context: Context, lead: Session, source: Session, target: Session, witness: Session | None, move: Move
) -> None:
    """From the flip on: writes taken at the target, the source's copy compared and removed."""
    if move.step is Step.flipped:
        _open(context, lead, target, move)
    fence.leave(source, move, *journal.map_of(lead))
    context.reached("left", move.bucket)
    stream.unsubscribe(target, move.publication)
    context.reached("unsubscribed", move.bucket)
    stream.unpublish(source, move.publication)
    context.reached("unpublished", move.bucket)
    if lead.one("SELECT verified FROM headroom.move WHERE bucket = %s", (move.bucket,))[0] is False:
        raise Differs(_differs(move, "an earlier comparison failed"))
    if witness is not None:
        try:
            filling.compare(source, witness, move, structure.tables(source, move.schema))
        except stream.Broken as error:
            journal.note(lead, move.bucket, {"verified": False, "said": str(error)})
            raise Differs(_differs(move, str(error))) from None
        journal.note(lead, move.bucket, {"verified": True})
    context.reached("compared", move.bucket)
    stream.unmark(source, move)
    stream.unmark(target, move)
    structure.drop(source, move.schema)
    context.reached("dropped", move.bucket)
    journal.write(lead, move.bucket, Step.done, said="")
    context.reached("done", move.bucket)


def _undo(lead: Session, source: Session, target: Session, move: Move) -> None:
    """Remove every trace at both sides; the bucket is the source's as it was."""
    if target.one("SELECT 1 FROM headroom.bucket WHERE bucket = %s", (move.bucket,)):
        raise Differs(f"bucket {move.bucket}: {target.server.name} says that it owns it, and the map does not")
    stream.unsubscribe(target, move.publication)
    structure.drop(target, move.schema)
    stream.unpublish(source, move.publication)
    stream.unmark(source, move)
    stream.unmark(target, move)
    journal.write(lead, move.bucket, Step.planned, token="")


def _healthy(source: Session, target: Session, move: Move) -> bool:
    """Whether a stream that an earlier mover began can be gone on with."""
    if (source.timeline(), target.timeline()) != (move.source_timeline, move.target_timeline):
        return False
    if structure.fingerprint(source, move.schema) != move.fingerprint:
        return False
    try:
        stream.lag_bytes(source, move)
    except stream.Broken:
        return False
    return target.one("SELECT 1 FROM pg_subscription WHERE subname = %s", (move.publication,)) is not None


def _differs(move: Move, why: str) -> str:
    mend = "UPDATE headroom.move SET verified = NULL WHERE bucket ="
    return (
        f"bucket {move.bucket} is at shard {move.target} and takes writes, but is not what shard {move.source} had: "
        f"{why}. The former copy is kept as schema {move.schema} of shard {move.source}; compare, mend, and then on "
        f"shard 0: {mend} {move.bucket}"
    )
