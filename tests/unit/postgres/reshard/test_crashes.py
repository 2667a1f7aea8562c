"""A server of either side goes away in the middle of a move, or comes back as another one, under load."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from shard.reshard import mover  # type: ignore[import-not-found]
from shard.reshard.context import Context  # type: ignore[import-not-found]
from shard.reshard.lease import Lease  # type: ignore[import-not-found]

from headroom.capacity.plan.buckets import owners, reassigned


@pytest.fixture
def nearly(fleet: Any) -> Any:
    """Three shards ask for one move, from shard 1 to shard 2: shard 0, which has the journal, is neither."""
    held = list(owners(3))
    held[held.index(2)] = 1
    fleet.own(tuple(held))
    return fleet


def run(fleet: Any, point: str, do: Callable[[], None]) -> None:
    left = [do]

    def reached(name: str, _bucket: int) -> None:
        if name == point and left:
            left.pop()()

    lease = Lease(fleet.server(0), "one")
    mover.run(Context(fleet.servers, "one", reached=reached), lease, 3, 1)
    lease.give_up()
    assert not left, f"it never came to {point}"


@pytest.mark.parametrize("server", [0, 1, 2], ids=["journal", "source", "target"])
@pytest.mark.parametrize("point", ["copied", "following", "shut", "caught", "flipped"])
def test_a_server_that_crashes(nearly: Any, load: Callable[..., Any], point: str, server: int) -> None:
    keys = nearly.fill(2_000)
    wanted = reassigned(nearly.map().owners, 3)
    writing = load(deadline_s=30.0)
    with writing.running():
        run(nearly, point, lambda: nearly.crash(server))
        writing.wait_for(30)
    rows = nearly.rows()
    assert nearly.map().owners == wanted
    assert writing.failed == [] and writing.stale_reads == []
    assert writing.wrong(rows, nearly.map()) == []
    assert all(len(there) == 1 for there in rows.values())
    assert {key for key in rows if key.startswith("row-")} == set(keys)
    nearly.agrees()


@pytest.mark.parametrize("side", ["source", "target"])
def test_another_primary_begins_the_copy_again(nearly: Any, load: Callable[..., Any], side: str) -> None:
    """Its timeline is another one: said here by the journal, since a promotion needs a standby."""
    nearly.fill(2_000)
    writing = load()
    with writing.running():
        run(nearly, "following", lambda: nearly.sql(0, f"UPDATE headroom.move SET {side}_timeline = '000000FF'"))  # noqa: S608
        writing.wait_for(30)
    assert nearly.sql(0, "SELECT attempt, step FROM headroom.move") == [(2, "done")]
    assert writing.wrong(nearly.rows(), nearly.map()) == []
    nearly.agrees()
