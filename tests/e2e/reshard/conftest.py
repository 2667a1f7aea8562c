"""A sharded store of its own on real pods, with rows in it, and clients that write all the time."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from bench.postgres.site import CONFIG, Site
from bench.reshard.load import Load
from bench.reshard.pods import Store
from headroom import local


@pytest.fixture(scope="session")
def store(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two shards."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    site = Site(cluster, tmp_path_factory.mktemp("reshard"))
    try:
        site.up()
        yield Store(site, CONFIG)
    finally:
        site.down()


@pytest.fixture
def load(store: Store) -> Callable[..., Load]:
    """Clients that know the map of this moment."""
    return lambda **more: Load(store.site.address(), store.map(), **more)
