"""Buckets move between real servers, under load, and not one acknowledged row is lost or there twice."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
from shard.reshard import journal, mover  # type: ignore[import-not-found]
from shard.reshard.context import Context  # type: ignore[import-not-found]
from shard.reshard.lease import Lease  # type: ignore[import-not-found]

from headroom.capacity.plan.buckets import reassigned

MOVING = 6


def move(fleet: Any, shards: int, holder: str = "one", **more: Any) -> Any:
    """Run a mover to its end."""
    context = Context(fleet.servers, holder)
    lease = Lease(fleet.server(0), holder)
    try:
        return mover.run(context, lease, shards, **more)
    finally:
        lease.give_up()


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)


def unharmed(fleet: Any, writing: Any, keys: list[str]) -> None:
    """Every acknowledged effect is there once, where the map says; so is every row that nobody touched."""
    rows = fleet.rows()
    assert writing.failed == []
    assert writing.stale_reads == []
    assert writing.wrong(rows, fleet.map()) == []
    assert all(len(there) == 1 for there in rows.values())
    assert {key for key in rows if key.startswith("row-")} == set(keys)
    fleet.agrees()


def test_growing_under_load_loses_and_doubles_nothing(grown: Any, load: Callable[..., Any]) -> None:
    keys = grown.fill(20_000)
    before = grown.map()
    writing = load()
    with writing.running():
        assert move(grown, 3).moved == MOVING
        writing.wait_for(50)
    assert grown.map().owners == reassigned(before.owners, 3)
    assert grown.map().version == before.version + MOVING
    unharmed(grown, writing, keys)
    journaled = grown.sql(0, "SELECT DISTINCT step, attempt, verified FROM headroom.move")
    assert journaled == [(journal.Step.done, 1, True)], "no copy was begun twice, and all were compared"


def test_shrinking_under_load_loses_and_doubles_nothing(shrunk: Any, load: Callable[..., Any]) -> None:
    keys = shrunk.fill(5_000)
    writing = load()
    with writing.running():
        assert move(shrunk, 1).moved == MOVING
        writing.wait_for(50)
    assert set(shrunk.map().owners) == {0}
    unharmed(shrunk, writing, keys)


def test_again_moves_nothing(grown: Any) -> None:
    grown.fill(500)
    assert move(grown, 3).moved == MOVING
    before = grown.map()
    assert move(grown, 3, "two") == mover.Outcome(0, 0)
    assert grown.map() == before
    grown.agrees()
