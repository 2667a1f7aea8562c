"""A sharded store on real pods whose number of shards changes: its rows, who holds them, and what a person types."""

from __future__ import annotations

import copy
import threading
from dataclasses import dataclass, field
from typing import Any

import psycopg
from typer.testing import CliRunner

from bench.postgres.site import CONFIG, NAMESPACE, STACK, Site, until
from bench.reshard.load import Load
from headroom.capacity.plan import Plan
from headroom.cli.main import application
from headroom.errors import EnvironmentFailure
from headroom.ops import reshard
from headroom.ops.verify import Scene, Verdict, buckets
from inference.shards import BucketMap, bucket_of, schema_of


@dataclass
class Store:
    """The stack, and its rows. `config` is of the last `up`."""

    site: Site
    config: dict[str, Any]

    def resize(self, shards: int, **moves: object) -> None:
        """An ordinary edit of the stack file, and `up`. Two buckets at once where nothing else is said: it is more that
        may go wrong, and sooner done."""
        changed: dict[str, Any] = copy.deepcopy(CONFIG)
        changed["headroom:postgres"]["override"]["shards"] = {"value": shards, "because": "a test"}
        changed["headroom:postgres"]["moves"] = {"maxParallelMoves": 2, **moves}
        self.config = changed
        self.site.up(changed)

    def steer(self, command: str) -> str:
        """What `headroom reshard …` prints. Raises where it fails."""
        file = self.site.request(self.config).file
        where = ["--stack", STACK, "--name", self.site.cluster.name, "--config", str(file)]
        done = CliRunner().invoke(application(), ["reshard", command, *where], catch_exceptions=False)
        if done.exit_code != 0:
            raise RuntimeError(done.output)
        return done.output

    def plan(self) -> Plan:
        return self.site.request(self.config).plan()

    def state(self) -> reshard.State:
        return reshard.state(self.site.kubectl, NAMESPACE)

    def map(self) -> BucketMap:
        now = self.state()
        return BucketMap.of(now.version, now.owners)

    def held(self, shard: int) -> int:
        """How many buckets a shard has; -1 while nobody can say."""
        try:
            return self.state().owners.count(shard)
        except EnvironmentFailure:
            return -1

    def fill(self, rows: int, prefix: str = "row") -> set[str]:
        """That many rows, spread over all buckets; gives their keys."""
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

    def report(self, load: Load, shards: int) -> str:
        """The figures of the last resize, for a person."""
        pauses = sorted(m.pause_ms for m in self.state().moves if m.pause_ms is not None)
        middle = f"{pauses[len(pauses) // 2]:.0f} ms median, {pauses[-1]:.0f} ms worst" if pauses else "none"
        return (
            f"{shards} shards: {load.acknowledged} effects acknowledged, {len(load.failed)} calls failed, "
            f"{len(load.doubtful)} doubtful, slowest write {load.slowest * 1000:.0f} ms; pause of {len(pauses)} "
            f"buckets {middle}; {len([p for p in pauses if p > 1000])} over a second; retries {dict(load.retries)}"
        )


@dataclass
class Resizing:
    """A resize in a thread of its own. `ended` gives what it raised, or None."""

    store: Store
    shards: int
    moves: dict[str, object] = field(default_factory=dict)
    _error: BaseException | None = None

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            self.store.resize(self.shards, **self.moves)
        except BaseException as error:
            self._error = error

    @property
    def going(self) -> bool:
        return self._thread.is_alive()

    def further(self, shard: int, more: int, seconds: float = 300) -> None:
        """Until the shard has so many buckets more. An assertion fails where the resize ends before that."""
        until(lambda: self.store.held(shard) >= 0, seconds, "shard 0 answers")
        wanted = self.store.held(shard) + more
        until(lambda: self.store.held(shard) >= wanted or not self.going, seconds, f"{more} more buckets moved")
        assert self.going, f"it ended too early: {self._error}"

    def ended(self, seconds: float = 600) -> BaseException | None:
        self._thread.join(seconds)
        assert not self.going, "it did not end"
        return self._error


def mover(site: Site) -> str | None:
    """The pod that moves buckets now, not one that was told to go."""
    pods = site.kubectl.items("pods", NAMESPACE, "app=pg-move")
    working = [
        p["metadata"]["name"]
        for p in pods
        if p["status"]["phase"] == "Running" and "deletionTimestamp" not in p["metadata"]
    ]
    return str(working[0]) if working else None
