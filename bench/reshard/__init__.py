"""What moving buckets costs, between three bare PostgreSQL servers on this machine: rows lost and doubled, how long a
bucket's writes wait, the load beside it, bytes per second. No cluster is needed; Debian's postgresql-15 and pgbouncer
are.

Servers wait for the disk at every commit, and there are no standbys: with one, each of the pause's five commits takes
the standby's round trip more.
"""

from __future__ import annotations

import logging
import subprocess
import time
from collections.abc import Iterator
from typing import Any

from bench.report import Measurement, median, worst
from bench.reshard.fleet import Fleet, servers, store
from bench.reshard.load import Load
from headroom.capacity.plan.buckets import owners

ROWS = 1_000_000
LARGE_ROWS = 300_000
ROUNDS = 3
BEFORE_S = 15.0


def measure() -> Iterator[Measurement]:
    """The figures of the reshard area."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    with servers(durable=True) as machines:
        with store(machines) as fleet:
            yield from _under_load(fleet)
        with store(machines) as fleet:
            yield from _beside_copy(fleet)


def _under_load(fleet: Fleet) -> Iterator[Measurement]:
    """Two shards of a million rows become three, two buckets at once, while clients insert, update, delete and read."""
    fleet.own(tuple(owners(2)))
    keys = set(fleet.fill(ROWS))
    load = Load(fleet.address(), fleet.map(), writers=4, deadline_s=10)
    with load.running():
        load.wait_for(500)
        before, began = load.acknowledged, time.monotonic()
        time.sleep(BEFORE_S)
        usual = (load.acknowledged - before) / (time.monotonic() - began)
        before, began = load.acknowledged, time.monotonic()
        _move(fleet)
        took = time.monotonic() - began
        beside = (load.acknowledged - before) / took
        load.wait_for(100)
    rows = fleet.rows()
    lost = load.wrong(rows, fleet.map())
    missing = keys - rows.keys()
    doubled = [key for key, there in rows.items() if len(there) > 1]
    pauses = [float(ms) for (ms,) in fleet.sql(0, "SELECT pause_ms FROM headroom.move")]
    acknowledged = float(load.acknowledged)
    yield Measurement("two shards of a million rows become three", took, "s", "", (took,))
    yield Measurement("buckets that moved", float(len(pauses)), "buckets", "", (float(len(pauses)),))
    yield Measurement("acknowledged effects beside the moves", acknowledged, "writes", "", (acknowledged,))
    yield Measurement("rows lost, or not as acknowledged", float(len(lost) + len(missing)), "rows", "<= 0", (0.0,))
    yield Measurement("rows doubled", float(len(doubled)), "rows", "<= 0", (0.0,))
    failed = float(len(load.failed) + len(load.stale_reads))
    yield Measurement("calls failed within 10 s, and stale reads", failed, "calls", "<= 0", (failed,))
    yield median("write pause of a bucket, median", pauses, "ms", "<= 300")
    yield worst("write pause of a bucket, worst", pauses, "ms", "<= 1000")
    yield Measurement("slowest write, as its client saw it", load.slowest * 1000, "ms", "", (load.slowest * 1000,))
    yield Measurement("load beside the moves / before them", beside / usual, "ratio", ">= 0.8", (usual, beside))


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


def _move(fleet: Fleet) -> None:
    from shard.reshard import mover  # noqa: PLC0415  it is on the path since `fleet`
    from shard.reshard.context import Context  # noqa: PLC0415
    from shard.reshard.lease import Lease  # noqa: PLC0415

    lease = Lease(fleet.server(0), "bench")
    mover.run(Context(fleet.servers, "bench"), lease, 3, 2)
    lease.give_up()


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
