"""One bucket from its shard to another: from wherever the journal says that it stands, on to the end or back."""

from __future__ import annotations

import logging
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import psycopg

from shard.reshard import copying, fence, journal, stream, structure
from shard.reshard.journal import Move, Step
from shard.reshard.server import Server, Session, Unconfirmed
from shard.reshard.tables import LEAD
from shard.reshard.throttle import Throttle

log = logging.getLogger("reshard")
READY_S = 0.25
"""A marker that needs longer says that the target is still behind."""
PING_S = 20.0
LATER_S = 1.0
TRIES = 60
"""Of the fence, a bucket: each is a moment's pause."""
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


class Stopped(Exception):
    """A person asked for it; `take_back` has the bucket where it was."""


class Differs(Exception):
    """The target does not have what the source had. The source's copy is kept, and somebody must look."""


@dataclass
class Context:
    """What every move needs.

    `reached` is told each point that is passed (tests stop there); `stopping` says whether a person wants the moves
    before their flip taken back; `ready` returns once clients can reach every shard; `hold` raises when the lease is
    another mover's.
    """

    servers: Mapping[int, Server]
    holder: str
    throttle: Throttle = field(default_factory=lambda: Throttle(0))
    reached: Callable[[str, int], None] = lambda _point, _bucket: None
    stopping: Callable[[], bool] = lambda: False
    ready: Callable[[], None] = lambda: None
    hold: Callable[[], None] = lambda: None

    def session(self, shard: int) -> Session:
        """A session on a shard's primary."""
        return Session(self.servers[shard], self.holder)


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
            why = _reason(error)
            log.warning("bucket %d: %s; again", bucket, why)
            if attempts >= ATTEMPTS and time.monotonic() - since > PATIENCE_S:
                raise
            with suppress(psycopg.Error, Unconfirmed):  # shard 0 may be what is away
                context.hold()
                with context.session(LEAD) as lead:
                    journal.note(lead, bucket, {"said": why})
            time.sleep(min(LATER_S, 0.05 * 2**attempts))


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
            fence.reopen(source, move)
            journal.write(lead, bucket, Step.following)
            move = journal.confirmed(lead, bucket)
        target = stack.enter_context(context.session(move.target))
        witness = None
        if move.step in journal.BEFORE_FLIP:
            if move.step is not Step.following or not _healthy(source, target, move):
                _undo(lead, source, target, move)
                move = _copy(context, lead, source, target, bucket)
            witness = stack.enter_context(context.session(move.target))
            move = _cross(context, lead, source, target, witness, move)
        _finish(context, lead, source, target, witness, move)


def _copy(context: Context, lead: Session, source: Session, target: Session, bucket: int) -> Move:
    planned = journal.confirmed(lead, bucket)
    size = source.one(
        "SELECT coalesce(sum(pg_table_size(oid)), 0)::bigint FROM pg_class "
        "WHERE relnamespace = to_regnamespace(%s) AND relkind = 'r'",
        (planned.schema,),
    )[0]
    journal.write(
        lead, bucket, Step.copying, token=secrets.token_hex(4), attempt=planned.attempt + 1,
        source_timeline=source.timeline(), target_timeline=target.timeline(),
        fingerprint=structure.fingerprint(source, planned.schema), bytes=size, copied=0, rows=0,
    )  # fmt: skip
    lead.run("UPDATE headroom.move SET started = coalesce(started, now()) WHERE bucket = %s", (bucket,))
    move = journal.confirmed(lead, bucket)
    context.reached("copying", bucket)
    tables = structure.tables(source, move.schema)
    dump = structure.definitions(source.server, move.schema)
    with context.session(move.target) as other:
        structure.define(dump, other, "pre-data")
    context.reached("defined", bucket)
    stream.publish(source, move, tables)
    context.reached("published", bucket)
    with copying.slot_with_snapshot(source.server, context.holder, move.slot) as snapshot:
        context.reached("slot", bucket)
        with copying.reading(source, snapshot):
            rows = _rows(context, lead, source, target, move, tables, dump)
    context.reached("checked", bucket)
    stream.subscribe(source.server, target, move)
    context.reached("subscribed", bucket)
    journal.write(lead, bucket, Step.following, rows=rows)
    context.reached("following", bucket)
    return journal.confirmed(lead, bucket)


def _rows(
    context: Context, lead: Session, source: Session, target: Session, move: Move, tables: list[str], dump: bytes
) -> int:
    """Copy the rows of the snapshot, and prove that they are all there. Returns how many."""
    told = time.monotonic()
    total = 0

    def tell(count: int) -> None:
        nonlocal told, total
        total += count
        if time.monotonic() - told > 1:
            told = time.monotonic()
            journal.note(lead, move.bucket, {"copied": total})
            if context.stopping():
                raise Stopped

    with target.transaction():
        for table in tables:
            copying.copy(source, target, move.schema, table, context.throttle, tell)
    journal.note(lead, move.bucket, {"copied": total})
    context.reached("copied", move.bucket)
    with context.session(move.target) as other:
        structure.define(dump, other, "post-data")
    rows = _compare(source, target, move, tables)
    for table in tables:
        target.run(psycopg.sql.SQL("ANALYZE {}").format(psycopg.sql.Identifier(move.schema, table)))
    return rows


def _compare(source: Session, target: Session, move: Move, tables: list[str]) -> int:
    """The number of rows that both have. Raises Broken where they differ."""
    count = 0
    with ThreadPoolExecutor(1) as pool:
        for table in tables:
            other = pool.submit(copying.checksum, source, move.schema, table)
            mine = copying.checksum(target, move.schema, table)
            if mine != other.result():
                raise stream.Broken(
                    f"{move.schema}.{table}: {source.server.name} has {other.result().rows} rows and "
                    f"{target.server.name} {mine.rows}, or their content differs"
                )
            count += mine.rows
    return count


def _cross(context: Context, lead: Session, source: Session, target: Session, witness: Session, move: Move) -> Move:
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
        given = structure.grants(source, move.schema)
        journal.write(lead, move.bucket, Step.fencing, grants=given)
        move = journal.confirmed(lead, move.bucket)
        context.reached("fencing", move.bucket)
        began = time.monotonic()
        try:
            with source.limit(fence.WHOLE_S), target.limit(fence.WHOLE_S), lead.limit(fence.WHOLE_S):
                _flip(context, lead, source, target, witness, move)
        except (fence.NotNow, psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected) as error:
            fence.reopen(source, move)
            journal.write(lead, move.bucket, Step.following, said=_reason(error))
            time.sleep(LATER_S)
            move = journal.confirmed(lead, move.bucket)
            continue
        version, owners = journal.map_of(lead)
        with target.limit(fence.WHOLE_S):
            fence.take(target, move, version, owners)
        pause = time.monotonic() - began
        context.reached("taken", move.bucket)
        journal.write(lead, move.bucket, Step.opened, pause_ms=pause * 1000, said="")
        context.reached("opened", move.bucket)
        return journal.confirmed(lead, move.bucket)
    raise TimeoutError(
        f"the fence could not be closed in {TRIES} tries: a transaction holds the bucket, or the load is more than the "
        "target applies"
    )


def _flip(context: Context, lead: Session, source: Session, target: Session, witness: Session, move: Move) -> None:
    fence.shut(source, move)
    context.reached("shut", move.bucket)
    fence.caught(source, target, move)
    # What the target has now is what the source has for good: to be compared when writes go on.
    witness.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    witness.run("SELECT 1")
    context.reached("caught", move.bucket)
    fence.close(source, move)
    context.reached("closed", move.bucket)
    journal.flip(lead, move)
    context.reached("flipped", move.bucket)


def _finish(
    context: Context, lead: Session, source: Session, target: Session, witness: Session | None, move: Move
) -> None:
    """From the flip on: writes taken at the target, the source's copy compared and removed."""
    version, owners = journal.map_of(lead)
    if move.step is Step.flipped:
        fence.take(target, move, version, owners)
        journal.write(lead, move.bucket, Step.opened)
    fence.leave(source, move, version, owners)
    context.reached("left", move.bucket)
    stream.unsubscribe(target, move.publication)
    context.reached("unsubscribed", move.bucket)
    stream.unpublish(source, move.publication)
    context.reached("unpublished", move.bucket)
    if lead.one("SELECT verified FROM headroom.move WHERE bucket = %s", (move.bucket,))[0] is False:
        raise Differs(_differs(move, "an earlier comparison failed"))
    if witness is not None:
        try:
            _compare(source, witness, move, structure.tables(source, move.schema))
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


def _differs(move: Move, why: str) -> str:
    mend = "UPDATE headroom.move SET verified = NULL WHERE bucket ="
    return (
        f"bucket {move.bucket} is at shard {move.target} and takes writes, but is not what shard {move.source} had: "
        f"{why}. The former copy is kept as schema {move.schema} of shard {move.source}; compare, mend, and then on "
        f"shard 0: {mend} {move.bucket}"
    )


def _reason(error: BaseException) -> str:
    """One line, for the journal and the log. Programs of PostgreSQL say it on their standard error."""
    heard = getattr(error, "stderr", None)
    if heard:
        return str(heard.decode(errors="replace")).strip().splitlines()[-1][:300]
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
