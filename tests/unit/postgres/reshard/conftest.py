"""Three real servers for the folder's tests, a database for each test, and clients that keep a ledger."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bench.reshard.fleet import Fleet, servers, store
from bench.reshard.load import Load
from headroom.capacity.plan.buckets import owners
from headroom.errors import EnvironmentFailure

MOVING = 6


@pytest.fixture(scope="session")
def machines() -> Iterator[tuple[tuple[int, ...], int, Path]]:
    try:
        with servers() as found:
            yield found
    except EnvironmentFailure as missing:
        pytest.skip(str(missing))


@pytest.fixture
def fleet(machines: tuple[tuple[int, ...], int, Path]) -> Iterator[Fleet]:
    """The servers with a database that is new, and no buckets yet."""
    with store(machines) as found:
        yield found


@pytest.fixture
def grown(fleet: Fleet) -> Fleet:
    """Three servers of which the last has few of its buckets yet: three shards ask for MOVING moves."""
    held = list(owners(3))
    for n, bucket in enumerate([b for b, owner in enumerate(held) if owner == 2][:MOVING]):
        held[bucket] = n % 2
    fleet.own(tuple(held))
    return fleet


@pytest.fixture
def shrunk(fleet: Fleet) -> Fleet:
    """Two servers in use of which the second has MOVING buckets: one shard asks for as many moves."""
    fleet.own(tuple(int(bucket >= 256 - MOVING) for bucket in range(256)))
    return fleet


@pytest.fixture
def load(fleet: Fleet) -> Callable[..., Load]:
    """Clients that are patient: a mover that takes over has to start first, on a machine that may have much to do."""
    return lambda **more: Load(fleet.address(), fleet.map(), **{"deadline_s": 60.0, **more})


@pytest.fixture
def eventually() -> Callable[..., None]:
    """Waits until something is so, a minute at most."""

    def until(true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return until
