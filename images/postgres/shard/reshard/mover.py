"""All moves that a number of shards asks for: so many at once, with pause, abort and progress."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest

import psycopg

from headroom.capacity.plan.buckets import reassigned
from shard.reshard import bucket, checks, journal, tables
from shard.reshard.context import Context, Differs, Stopped, reason
from shard.reshard.journal import Move, Step
from shard.reshard.lease import Lease
from shard.reshard.server import Session, Unconfirmed
from shard.reshard.tables import LEAD

log = logging.getLogger("reshard")
LOOK_S = 0.5
ENOUGH = 4
"""Buckets, before anybody says how long the others take."""


class Aborted(Exception):
    """A person stopped it; what had moved stays moved."""


@dataclass(frozen=True)
class Outcome:
    """`moved` buckets of `wanted`."""

    wanted: int
    moved: int


def run(
    context: Context,
    lease: Lease,
    shards: int,
    parallel: int = 2,
    *,
    spare: int = checks.SPARE_BYTES,
    told: Callable[[str], None] = log.info,
    begins: Callable[[], None] = lambda: None,
) -> Outcome:
    """Have `shards` shards own the buckets evenly, with the fewest moves from how it is now.

    What an earlier mover left is finished first, or taken back where it leads elsewhere. `begins` is called before the
    first move, when there is one. Raises Refused before anything is moved; Aborted, Differs, Superseded.
    """
    work = _Work(context, lease, told)
    lease.take(context.servers.values())
    with context.session(LEAD) as lead:
        _settle(context, lead, shards, told)
        _, owners = journal.map_of(lead)
        wanted = reassigned(owners, shards)
        moves = [(b, old, new) for b, (old, new) in enumerate(zip(owners, wanted, strict=True)) if old != new]
        if not moves:
            _tell_all(context, lead)
            lead.run("UPDATE headroom.wish SET aborted = false")
            return Outcome(0, 0)
        checks.check(context, moves, parallel, spare)
        begins()
        journal.plan(lead, moves)
    outcome = work.all(_in_turn(moves), parallel)
    with context.session(LEAD) as lead:
        _tell_all(context, lead)
    return outcome


class _Work:
    """The moves of one run, by `parallel` threads."""

    def __init__(self, context: Context, lease: Lease, told: Callable[[str], None]) -> None:
        self._context, self._lease, self._told = context, lease, told
        self._left: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._moved = 0
        self._pace = Pace()
        self._lock = threading.Lock()
        self._wish = (False, False)
        context.stopping = lambda: self._stop.is_set() or self._wish[1]
        context.hold = self._hold

    def all(self, buckets: Iterable[int], parallel: int) -> Outcome:
        for one in buckets:
            self._left.put(one)
        total = self._left.qsize()
        with ThreadPoolExecutor(parallel) as pool:
            running = [pool.submit(self._one_after_another) for _ in range(parallel)]
            while not all(future.done() for future in running):
                time.sleep(LOOK_S)
                self._look(total)
                if any(future.done() and future.exception() for future in running):
                    self._stop.set()
        errors = [error for future in running if (error := future.exception())]
        if worst := next((e for e in errors if isinstance(e, Differs)), errors[0] if errors else None):
            raise worst
        if self._wish[1]:
            with self._context.session(LEAD) as lead:
                lead.run("UPDATE headroom.wish SET aborted = false")
            raise Aborted(
                f"aborted: {self._moved} of {total} buckets have moved and stay where they are, the others are where "
                "they were; run it again to go on"
            )
        return Outcome(total, self._moved)

    def _one_after_another(self) -> None:
        while not self._context.stopping():
            if self._wish[0]:
                time.sleep(LOOK_S)
                continue
            try:
                one = self._left.get_nowait()
            except queue.Empty:
                return
            try:
                bucket.carry_out(self._context, one)
            except Stopped:
                bucket.take_back(self._context, one)
                return
            with self._lock:
                self._moved += 1

    def _look(self, total: int) -> None:
        """What a person wants, and how far it is."""
        try:
            self._hold()
            with self._context.session(LEAD) as lead:
                self._wish = tuple(lead.one("SELECT paused, aborted FROM headroom.wish"))
                moves, copied, left = lead.one(
                    "SELECT count(*) FILTER (WHERE step NOT IN ('planned', 'done')), sum(copied), "
                    "count(*) FILTER (WHERE step <> 'done') FROM headroom.move"
                )
        except (psycopg.OperationalError, Unconfirmed):
            return  # shard 0 has no primary at this moment
        state = "paused, " if self._wish[0] else ""
        soon = "" if self._wish[0] else self._pace.left(total - left, left, time.monotonic())
        self._told(
            f"{state}{total - left} of {total} buckets moved, {moves} on their way, {int(copied or 0):,} bytes "
            f"copied{soon}"
        )

    def _hold(self) -> None:
        with self._lock:
            self._lease.renew()


@dataclass
class Pace:
    """How long it may take still, by what was done since the first look."""

    _first: tuple[int, float] | None = None

    def left(self, done: int, left: int, now: float) -> str:
        """`, about 3 minutes left`; nothing while too little is known. `now` in seconds."""
        if self._first is None:
            self._first = (done, now)
        moved = done - self._first[0]
        if moved < ENOUGH:
            return ""
        seconds = left * (now - self._first[1]) / moved
        return f", about {seconds / 60:.0f} minutes left" if seconds >= 90 else f", about {seconds:.0f} s left"


def roll_back(context: Context, lease: Lease) -> int:
    """Take back what is before its flip and finish what is past it, then stop; returns how many were taken back."""
    lease.take(context.servers.values())
    with context.session(LEAD) as lead:
        moves = [m for m in journal.read(lead) if m.step is not Step.done]
        back = [m for m in moves if m.step in journal.BEFORE_FLIP]
        _let_write(context, moves)
        for move in moves:
            if move.step in journal.AFTER_FLIP:
                bucket.carry_out(context, move.bucket)
            elif move.step is not Step.planned:
                bucket.take_back(context, move.bucket)
        lead.run("DELETE FROM headroom.move WHERE step = 'planned'")
        lead.run("UPDATE headroom.wish SET aborted = false, paused = false")
        _tell_all(context, lead)
    return len(back)


def _settle(context: Context, lead: Session, shards: int, told: Callable[[str], None]) -> None:
    """Finish what an earlier mover began; what leads to where nobody wants it now is taken back."""
    unfinished = [m for m in journal.read(lead) if m.step not in (Step.planned, Step.done)]
    if not unfinished:
        return
    told(f"{len(unfinished)} moves of an earlier run are finished first")
    _let_write(context, unfinished)
    _, owners = journal.map_of(lead)
    wanted = reassigned(owners, shards)
    for move in unfinished:
        if move.step in journal.AFTER_FLIP or _still_wanted(move, wanted):
            bucket.carry_out(context, move.bucket)
        else:
            bucket.take_back(context, move.bucket)


def _let_write(context: Context, moves: Iterable[Move]) -> None:
    """Before one of them is gone on with, which may take its time: no bucket's writes wait for that."""
    for move in moves:
        if move.step not in (Step.fencing, Step.flipped):
            continue
        try:
            bucket.let_write(context, move.bucket)
        except bucket.TRANSIENT as error:  # whoever goes on with it tries again
            log.warning("bucket %d: %s", move.bucket, reason(error))


def _still_wanted(move: Move, wanted: tuple[int, ...]) -> bool:
    return wanted[move.bucket] == move.target


def _tell_all(context: Context, lead: Session) -> None:
    """Every shard's copy of the map is the newest."""
    version, owners = journal.map_of(lead)
    for shard in context.servers:
        if shard != LEAD:
            with context.session(shard) as session:
                tables.copy_map(session.connection, version, owners)


def _in_turn(moves: Iterable[tuple[int, int, int]]) -> list[int]:
    """Buckets in an order that spreads the work over sources and targets."""
    pairs: Mapping[tuple[int, int], list[int]] = {}
    for one, source, target in moves:
        pairs.setdefault((source, target), []).append(one)  # type: ignore[attr-defined]
    return [one for turn in zip_longest(*pairs.values()) for one in turn if one is not None]
