"""A sharded store of its own on real pods, with rows in it, and clients that write all the time."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from bench.postgres.site import CONFIG, NAMESPACE, Site
from bench.reshard.load import Load
from headroom import local
from headroom.capacity.plan import Plan
from headroom.ops import reshard
from headroom.ops.verify import Scene, Verdict, buckets
from inference.shards import BucketMap, bucket_of, schema_of


@dataclass
class Store:
    """The stack, and its rows. `config` is of the last `up`."""

    site: Site
    config: dict[str, Any]

    def resize(self, shards: int, **moves: object) -> None:
        """An ordinary edit of the stack file, and `up`."""
        changed: dict[str, Any] = copy.deepcopy(CONFIG)
        changed["headroom:postgres"]["override"]["shards"] = {"value": shards, "because": "a test"}
        if moves:
            changed["headroom:postgres"]["moves"] = moves
        self.config = changed
        self.site.up(changed)

    def plan(self) -> Plan:
        return self.site.request(self.config).plan()

    def state(self) -> reshard.State:
        return reshard.state(self.site.kubectl, NAMESPACE)

    def map(self) -> BucketMap:
        now = self.state()
        return BucketMap.of(now.version, now.owners)

    def fill(self, rows: int, prefix: str = "row") -> set[str]:
        """That many rows, spread over all buckets."""
        held = self.map().owners
        keys: dict[int, list[str]] = {}
        for n in range(rows):
            key = f"{prefix}-{n}"
            keys.setdefault(bucket_of(key), []).append(key)
        for shard in set(held):
            with psycopg.connect(self.site.direct(shard), autocommit=True) as connection:
                for bucket, some in keys.items():
                    if held[bucket] == shard:
                        connection.execute(
                            f"INSERT INTO {schema_of(bucket)}.features (entity_id, features) "  # noqa: S608
                            "SELECT key, ARRAY[random(), random(), random()] FROM unnest(%s::text[]) AS key",
                            (some,),
                        )
        return {key for some in keys.values() for key in some}

    def rows(self) -> dict[str, list[tuple[int, Any]]]:
        """Where every key is: `[(shard, features)]`. A shard that has the schema of another's bucket fails the test."""
        held = self.map().owners
        found: dict[str, list[tuple[int, Any]]] = {}
        for shard in sorted(set(held)):
            mine = [bucket for bucket, owner in enumerate(held) if owner == shard]
            leader = self.site.leader(shard)
            assert leader is not None
            schemas = "SELECT substr(nspname, 2)::int FROM pg_namespace WHERE nspname ~ '^b[0-9]{3}$'"
            there = self.site.sql(leader, schemas)
            assert sorted(map(int, there.split())) == mine
            with psycopg.connect(self.site.direct(shard), autocommit=True) as connection:
                for bucket in mine:
                    query = f"SELECT entity_id, features FROM {schema_of(bucket)}.features"  # noqa: S608
                    for key, value in connection.execute(query):
                        found.setdefault(key, []).append((shard, value))
        return found

    def check(self, load: Load, keys: set[str], shards: int) -> None:
        """Every acknowledged effect is there once, where the map says; nothing is left over; the shares are even."""
        held = self.map()
        for shard in range(shards):
            self.site.settle(shard)
        rows = self.rows()
        assert load.wrong(rows, held) == []
        assert load.stale_reads == []
        assert all(len(there) == 1 for there in rows.values())
        assert keys - rows.keys() == set()
        counts = [held.owners.count(shard) for shard in range(shards)]
        assert sum(counts) == 256 and max(counts) - min(counts) <= 1
        scene = Scene(self.plan(), self.site.kubectl, real_pods=True)
        failed = [f for f in buckets.buckets(scene) if f.verdict is Verdict.failed]
        assert failed == []


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
    return lambda **more: Load(store.site.address(), store.site.map(), **more)
