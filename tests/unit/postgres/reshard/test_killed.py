"""A mover that is killed anywhere: whoever comes next goes on, or has the bucket back where it was, under load."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shard.reshard import mover  # type: ignore[import-not-found]
from shard.reshard.context import Context  # type: ignore[import-not-found]
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
