"""Two shards behind PgBouncer on real pods: one stack for the folder's tests, gone at their end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator

import psycopg
import pytest

from bench.postgres.ledger import Ledger
from bench.postgres.site import Site
from headroom import local


@pytest.fixture(scope="session")
def site(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The stack, deployed."""
    made = Site(cluster, tmp_path_factory.mktemp("postgres"))
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture
def settled(site: Site) -> Site:
    """The stack with both shards healthy, whatever the test before did."""
    for shard in (0, 1):
        site.settle(shard)
    return site


@pytest.fixture
def ledger(settled: Site) -> Callable[..., Ledger]:
    """A ledger of writes to one shard: `ledger(0)`."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

    def make(shard: int = 0, **more: object) -> Ledger:
        return Ledger(settled.address(), settled.map(), shard, f"run{time.time_ns()}", **more)  # type: ignore[arg-type]

    return make


@pytest.fixture
def nothing_lost(settled: Site) -> Callable[[Ledger], None]:
    """Fails when an acknowledged write is not in the database."""

    def check(written: Ledger) -> None:
        settled.settle(written.shard)
        with psycopg.connect(settled.direct(written.shard)) as connection:
            lost = written.lost(connection)
        assert written.acknowledged
        assert lost == []

    return check
