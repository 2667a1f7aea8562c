"""What moving buckets costs, between three bare PostgreSQL servers on this machine: rows lost and doubled, how long a
bucket's writes wait, the load beside it, bytes per second. No cluster is needed; Debian's postgresql-15 and pgbouncer
are.

Servers wait for the disk at every commit, and there are no standbys: with one, each of the pause's five commits takes
the standby's round trip more.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any

from bench.report import Measurement, median, worst
from bench.reshard.fleet import ROOT, Fleet, servers, store
from bench.reshard.load import WRITES, Load
from headroom.capacity.plan.buckets import owners
from headroom.capacity.plan.postgres import PARALLEL_MOVES

ROWS = 1_000_000
LARGE_ROWS = 300_000
ROUNDS = 3
ALONE_S = 15.0
PACE = 0.6
"""Of what the clients reach when nothing holds them back."""


def measure() -> Iterator[Measurement]:
    """The figures of the reshard area."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    with servers(durable=True) as machines:
        with store(machines) as fleet:
            usual = yield from _under_load(fleet)
        with store(machines) as fleet:
            yield from _paced(fleet, PACE * usual)
        with store(machines) as fleet:
            yield from _two_at_once(fleet)
        with store(machines) as fleet:
            yield from _beside_copy(fleet)


@dataclass(frozen=True)
class Beside:
    """Writes a second before the moves, beside them and after them, and the seconds that each took, from when it was
    due."""

    moves_s: float
    before: float
    beside: float
    after: float
    took_before: list[float]
    took_beside: list[float]

    @property
    def share(self) -> float:
        """Of what the load reaches alone. A shared machine's speed drifts, so that is looked at on both sides."""
        return 2 * self.beside / (self.before + self.after)

    @property
    def rates(self) -> tuple[float, float, float]:
        return (self.before, self.beside, self.after)


def _resize(fleet: Fleet, load: Load, parallel: int = PARALLEL_MOVES) -> Beside:
    """Two shards become three beside the load, between two whiles of the load alone."""
    with load.running():
        load.wait_for(500)
        first, began = load.acknowledged, time.monotonic()
        time.sleep(ALONE_S)
        middle, moving = load.acknowledged, time.monotonic()
        _move(fleet, parallel)
        last, ended = load.acknowledged, time.monotonic()
        time.sleep(ALONE_S)
        final, stopped = load.acknowledged, time.monotonic()
    before, beside, after = (
        (middle - first) / (moving - began),
        (last - middle) / (ended - moving),
        (final - last) / (stopped - ended),
    )
    return Beside(ended - moving, before, beside, after, load.took[first:middle], load.took[middle:last])


def _under_load(fleet: Fleet) -> Generator[Measurement, None, float]:
    """Two shards of a million rows become three while clients insert, update, delete and read as fast as they can.

    Returns what they reached alone, in writes a second.
    """
    fleet.own(tuple(owners(2)))
    keys = set(fleet.fill(ROWS))
    load = Load(fleet.address(), fleet.map(), writers=4, deadline_s=10)
    found = _resize(fleet, load)
    moved, acknowledged = float(len(_pauses(fleet))), float(load.acknowledged)
    yield Measurement("two shards of a million rows become three", found.moves_s, "s", "", (found.moves_s,))
    yield Measurement("buckets that moved", moved, "buckets", "", (moved,))
    yield Measurement("acknowledged effects beside the moves", acknowledged, "writes", "", (acknowledged,))
    yield from _promised(fleet, load, keys, found)
    yield Measurement("slowest write, as its client saw it", load.slowest * 1000, "ms", "", (load.slowest * 1000,))
    return found.before


def _paced(fleet: Fleet, writes_per_s: float) -> Iterator[Measurement]:
    """The same beside clients that leave cores to spare, as a service does that is sized with headroom."""
    fleet.own(tuple(owners(2)))
    keys = set(fleet.fill(ROWS))
    load = Load(fleet.address(), fleet.map(), writers=16, deadline_s=10, rate=writes_per_s / WRITES)
    found = _resize(fleet, load)
    yield Measurement(f"the same at {PACE:.0%} of that load", found.moves_s, "s", "", (found.moves_s,))
    yield from _promised(fleet, load, keys, found)
    for when, took in (("before", found.took_before), ("beside", found.took_beside)):
        p99 = sorted(took)[int(0.99 * len(took))] * 1000
        yield Measurement(f"p99 of a write {when} the moves, from when it was due", p99, "ms", "", (p99,))


def _two_at_once(fleet: Fleet) -> Iterator[Measurement]:
    """What a stack file may ask for, beside the clients of the first of these."""
    fleet.own(tuple(owners(2)))
    fleet.fill(ROWS)
    load = Load(fleet.address(), fleet.map(), writers=4, deadline_s=10)
    found = _resize(fleet, load, 2)
    yield Measurement("the same with two buckets at once", found.moves_s, "s", "", (found.moves_s,))
    yield Measurement("load beside two at once / without them", found.share, "ratio", "", found.rates)


def _promised(fleet: Fleet, load: Load, keys: set[str], found: Beside) -> Iterator[Measurement]:
    """What a resize promises to those beside it: their rows, short pauses, and their share of the machine."""
    rows = fleet.rows()
    lost = float(len(load.wrong(rows, fleet.map())) + len(keys - rows.keys()))
    doubled = float(len([key for key, there in rows.items() if len(there) > 1]))
    failed = float(len(load.failed) + len(load.stale_reads))
    yield Measurement("rows lost, or not as acknowledged", lost, "rows", "<= 0", (lost,))
    yield Measurement("rows doubled", doubled, "rows", "<= 0", (doubled,))
    yield Measurement("calls failed within 10 s, and stale reads", failed, "calls", "<= 0", (failed,))
    pauses = _pauses(fleet)
    yield median("write pause of a bucket, median", pauses, "ms", "<= 300")
    yield worst("write pause of a bucket, worst", pauses, "ms", "<= 1000")
    yield Measurement("load beside the moves / without them", found.share, "ratio", ">= 0.8", found.rates)


def _pauses(fleet: Fleet) -> list[float]:
    return [float(ms) for (ms,) in fleet.sql(0, "SELECT pause_ms FROM headroom.move")]


def _beside_copy(fleet: Fleet) -> Iterator[Measurement]:
    """Large buckets without other load, in turns with psql's COPY of the same rows into a table with the same index."""
    held = list(_but_for(ROUNDS))
    large = [b for b, (now, then) in enumerate(zip(held, owners(3), strict=True)) if now != then]
    fleet.own(tuple(owners(3)))
    ratios, moved, copied = [], [], []
    for bucket in large:
        held = list(fleet.map().owners)
        source = held[bucket]
        target = (source + 1) % 3
        table = f"b{bucket:03d}.history"
        fleet.sql(
            source,
            f"CREATE TABLE {table} (id bigint PRIMARY KEY, features double precision[] NOT NULL); "  # noqa: S608
            f"INSERT INTO {table} SELECT n, ARRAY[random(), random(), random(), random(), random(), random()] "
            f"FROM generate_series(1, {LARGE_ROWS}) AS n; ANALYZE {table}; CHECKPOINT",
        )
        ((size,),) = fleet.sql(source, f"SELECT pg_table_size('{table}')")
        plain = _copy(fleet, source, target, table)
        took = _move_one(fleet, bucket, source, target)
        copied.append(size / plain)
        moved.append(size / took)
        ratios.append(plain / took)
    yield median("a bucket's move, from its first step to its last", moved, "bytes/s")
    yield median("psql COPY | psql COPY of the same rows", copied, "bytes/s")
    yield median("move / COPY", ratios, "ratio", ">= 0.5")


def _but_for(moves: int) -> tuple[int, ...]:
    """The even map of three shards, but for so many buckets of the third that the others have still."""
    held = list(owners(3))
    for n, bucket in enumerate([b for b, owner in enumerate(held) if owner == 2][:moves]):
        held[bucket] = n % 2
    return tuple(held)


def _move(fleet: Fleet, parallel: int) -> None:
    """Have three shards, so many buckets at once. Raises CalledProcessError."""
    ports = ",".join(map(str, fleet.ports))
    command = [sys.executable, "-m", "bench.reshard.working", ports, fleet.database, "3", str(parallel)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def _move_one(fleet: Fleet, bucket: int, source: int, target: int) -> float:
    """Seconds that one bucket takes."""
    from shard.reshard import bucket as buckets  # noqa: PLC0415
    from shard.reshard import journal  # noqa: PLC0415
    from shard.reshard.context import Context  # noqa: PLC0415
    from shard.reshard.lease import Lease  # noqa: PLC0415

    lease = Lease(fleet.server(0), "bench")
    lease.take(fleet.servers.values())
    context = Context(fleet.servers, "bench")
    with context.session(0) as lead:
        journal.plan(lead, [(bucket, source, target)])
    began = time.monotonic()
    buckets.carry_out(context, bucket)
    took = time.monotonic() - began
    lease.give_up()
    return took


def _copy(fleet: Fleet, source: int, target: int, table: str) -> float:
    """Seconds of COPY out of the one into the other."""
    fleet.sql(target, "CREATE TABLE public.copied (id bigint PRIMARY KEY, features double precision[] NOT NULL)")

    def psql(server: int, statement: str, **more: Any) -> subprocess.Popen[bytes]:
        port = str(fleet.ports[server])
        command = ["psql", "-h", "127.0.0.1", "-p", port, "-U", "postgres", "-d", fleet.database, "-Xqc", statement]
        return subprocess.Popen(command, **more)

    began = time.monotonic()
    out = psql(source, f"COPY {table} TO STDOUT", stdout=subprocess.PIPE)
    into = psql(target, "COPY public.copied FROM STDIN", stdin=out.stdout)
    if out.stdout:
        out.stdout.close()
    if out.wait() or into.wait():
        raise RuntimeError("psql could not copy")
    took = time.monotonic() - began
    fleet.sql(target, "DROP TABLE public.copied")
    return took
