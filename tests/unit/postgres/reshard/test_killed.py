"""A mover that is killed anywhere: whoever comes next goes on, or has the bucket back where it was, under load."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from shard.reshard import journal, mover, structure  # type: ignore[import-not-found]
from shard.reshard.context import Context  # type: ignore[import-not-found]
from shard.reshard.journal import Step  # type: ignore[import-not-found]
from shard.reshard.lease import Lease  # type: ignore[import-not-found]

from headroom.capacity.plan.buckets import owners

WORKER = Path(__file__).with_name("worker.py")
POINTS = (
    *("copying", "defined", "published", "slot", "copied", "checked", "subscribed", "following"),
    *("fencing", "shut", "caught", "closed"),
    *("flipped", "taken", "opened", "left", "unsubscribed", "unpublished", "compared", "dropped", "done"),
)
FLIPPED = POINTS[POINTS.index("flipped") :]


def worker(fleet: Any, **more: Any) -> subprocess.CompletedProcess[str]:
    given = {"ports": fleet.ports, "database": fleet.database, "shards": 3, **more}
    return subprocess.run(
        [sys.executable, str(WORKER), json.dumps(given)], capture_output=True, text=True, timeout=180, check=False
    )


@pytest.fixture
def nearly(fleet: Any) -> Any:
    """Three shards ask for one move."""
    held = list(owners(3))
    held[held.index(2)] = 0
    fleet.own(tuple(held))
    return fleet


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_any_step_the_next_one_finishes(nearly: Any, load: Callable[..., Any], point: str) -> None:
    keys = nearly.fill(2_000)
    bucket = next(b for b, owner in enumerate(owners(3)) if owner != nearly.map().owners[b])
    writing = load()
    with writing.running():
        died = worker(nearly, holder="first", die_at=point)
        assert died.returncode == -signal.SIGKILL, died.stderr
        assert (nearly.map().owners[bucket] == 2) is (point in FLIPPED)
        after = worker(nearly, holder="second")
        assert after.returncode == 0, after.stderr
        writing.wait_for(30)
    rows = nearly.rows()
    assert nearly.map().owners == owners(3)
    assert writing.failed == [] and writing.stale_reads == []
    assert writing.wrong(rows, nearly.map()) == []
    assert all(len(there) == 1 for there in rows.values())
    assert {key for key in rows if key.startswith("row-")} == set(keys)
    nearly.agrees()


@pytest.mark.parametrize("point", ["copied", "following", "shut", "closed", "flipped"])
def test_killed_and_given_up_a_bucket_is_whole_on_one_side(nearly: Any, point: str) -> None:
    keys = nearly.fill(1_000)
    before = nearly.map()
    assert worker(nearly, holder="first", die_at=point).returncode == -signal.SIGKILL
    back = mover.roll_back(Context(nearly.servers, "second"), Lease(nearly.server(0), "second"))
    assert back == (point not in FLIPPED)
    assert (nearly.map() == before) is (point not in FLIPPED)
    assert set(nearly.rows()) == set(keys)
    nearly.agrees()


def test_no_bucket_waits_until_another_has_arrived(grown: Any) -> None:
    """Movers died in the fences of three buckets: all three take writes again before the next one moves any."""
    keys = grown.fill(1_000)
    assert worker(grown, holder="first", die_at="flipped").returncode == -signal.SIGKILL
    moves = grown.sql(0, "SELECT bucket, source FROM headroom.move WHERE step = 'planned' ORDER BY bucket")[:2]
    ((flipped,),) = grown.sql(0, "SELECT bucket FROM headroom.move WHERE step = 'flipped'")
    context = Context(grown.servers, "first")
    for bucket, number in moves:
        with context.session(0) as lead, context.session(number) as source:
            given = structure.grants(source, f"b{bucket:03d}")
            journal.write(lead, bucket, Step.fencing, grants=given)
            with source.transaction():
                structure.forbid(source, f"b{bucket:03d}", given)
    seen: list[dict[int, list[int]]] = []

    def reached(_point: str, _bucket: int) -> None:
        if not seen:
            seen.append(grown.fences())

    mover.run(Context(grown.servers, "second", reached=reached), Lease(grown.server(0), "second"), 3, 1)
    assert flipped in seen[0][2]
    assert all(bucket in seen[0][source] for bucket, source in moves)
    assert set(grown.rows()) == set(keys)
    grown.agrees()


@pytest.mark.parametrize("point", ["copied", "shut", "flipped", "done"])
def test_one_that_is_told_to_go_leaves_no_writes_waiting(grown: Any, point: str) -> None:
    keys = grown.fill(1_000)
    left = worker(grown, holder="first", leave_at=point)
    assert left.returncode == 1, left.stderr
    steps = {step for (step,) in grown.sql(0, "SELECT step FROM headroom.move")}
    assert steps - {"done"} and not steps & {"fencing", "flipped"}
    assert worker(grown, holder="second").returncode == 0
    assert set(grown.rows()) == set(keys)
    grown.agrees()


def test_a_shard_that_is_away_is_waited_for(nearly: Any, eventually: Callable[..., None]) -> None:
    """The next mover does not leave it to another try of its Job, for which writes would wait."""

    def connections(allowed: str) -> None:
        with psycopg.connect(
            host="127.0.0.1", port=nearly.ports[1], user="postgres", dbname="postgres", autocommit=True
        ) as one:
            one.execute(f"ALTER DATABASE {nearly.database} ALLOW_CONNECTIONS {allowed}")

    lease = Lease(nearly.server(0), "second")
    connections("false")
    try:
        with ThreadPoolExecutor(1) as pool:
            taking = pool.submit(lease.take, nearly.servers.values())
            eventually(lambda: taking.done() or nearly.sql(0, "SELECT holder FROM headroom.lease") == [("second",)])
            connections("true")
            taking.result()
    finally:
        connections("true")
        lease.give_up()
    assert nearly.sql(1, "SELECT holder FROM headroom.lease") == [("second",)]
