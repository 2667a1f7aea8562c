"""Clients that insert, update, delete and read through the shard client, and remember what was acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg

from inference.deadline import Deadline
from inference.shards import BucketMap, KnownMap, OutcomeUnknown, ShardError, Shards, bucket_of

READ = "SELECT entity_id, features FROM {schema}.features WHERE entity_id = ANY(%s)"
DELETE = "DELETE FROM {schema}.features WHERE entity_id = %s"
UPSERT = (
    "INSERT INTO {schema}.features (entity_id, features) VALUES (%s, %s) "
    "ON CONFLICT (entity_id) DO UPDATE SET features = excluded.features"
)
WRITES = 0.9
"""Of all calls; the others read."""
SLOW_S = 3.0


@dataclass
class Load:
    """Inserts, updates and deletes through the shard client, each of a key of its own writer, and reads of them.

    `expected` is what the last acknowledged effect on a key left (None: deleted). A write whose outcome is unknown
    makes its key doubtful, and it is not used again.

    Without a `rate` every writer begins its next call when the last one ends. With one, in calls a second of all
    writers together, calls fall due at random whatever becomes of those before, as with clients that know nothing of
    each other. `took` is of each acknowledged write in seconds, from when it was due; `slow` says which
    bucket waited when.
    """

    address: str
    first: BucketMap
    writers: int = 4
    deadline_s: float = 10.0
    rate: float | None = None
    expected: dict[str, list[float] | None] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    acknowledged: int = 0
    stale_reads: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    took: list[float] = field(default_factory=list)
    slow: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        thread.start()
        try:
            self.wait_for(20)
            yield self
        finally:
            self._stop.set()
            thread.join(60)

    def wait_for(self, more: int, seconds: float = 60) -> None:
        wanted, deadline = self.acknowledged + more, time.monotonic() + seconds
        while self.acknowledged < wanted:
            assert time.monotonic() < deadline, f"no {more} more writes; {self.failed[-1:]} {self.retries}"
            time.sleep(0.01)

    async def _all(self) -> None:
        shards = Shards(self.address, buckets=KnownMap(self.first), connections=self.writers * 4,
                        on_retry=lambda _shard, reason: self.retries.update([reason]))  # fmt: skip
        async with shards:
            await asyncio.gather(*(self._writer(shards, n) for n in range(self.writers)))

    async def _writer(self, shards: Shards, writer: int) -> None:
        chance = random.Random(writer)  # noqa: S311
        pace = random.Random(-1 - writer)  # noqa: S311
        mine: list[str] = []
        due = time.monotonic()
        while not self._stop.is_set():
            if self.rate:
                due += pace.expovariate(self.rate / self.writers)
                await asyncio.sleep(max(0.0, due - time.monotonic()))
            else:
                due = time.monotonic()
            kind = chance.random() if mine else 0.0
            key = f"load-{writer}-{len(mine)}" if kind < 0.5 else chance.choice(mine)
            if key in self.doubtful:
                continue
            value: list[float] | None = [float(self.acknowledged), chance.random()]
            try:
                if kind < 0.8:
                    await shards.write(key, UPSERT, (key, value), Deadline.after(self.deadline_s), idempotent=True)
                    if key not in self.expected:
                        mine.append(key)
                elif kind < WRITES:
                    value = None
                    await shards.write(key, DELETE, (key,), Deadline.after(self.deadline_s), idempotent=True)
                else:
                    rows = await shards.read([key], READ, Deadline.after(self.deadline_s))
                    found = rows[0][1] if rows else None
                    if found != self.expected[key]:
                        self.stale_reads.append(f"{key}: {found} instead of {self.expected[key]}")
                    continue
            except OutcomeUnknown:
                self.doubtful.add(key)
                continue
            except (ShardError, psycopg.Error) as error:
                self.failed.append(f"{type(error).__name__}: {error}")
                self.doubtful.add(key)
                continue
            self.took.append(time.monotonic() - due)
            self.slowest = max(self.slowest, self.took[-1])
            if self.took[-1] > SLOW_S:
                self.slow.append(f"bucket {bucket_of(key)} {self.took[-1]:.1f} s until {time.strftime('%H:%M:%S')}")
            self.expected[key] = value
            self.acknowledged += 1

    def wrong(self, rows: dict[str, list[tuple[int, Any]]], held: BucketMap) -> list[str]:
        """Every acknowledged effect that is not there exactly once, on the shard that the map names."""
        found = []
        for key, value in self.expected.items():
            if key in self.doubtful:
                continue
            there = rows.get(key, [])
            wanted = [] if value is None else [(held.owners[bucket_of(key)], value)]
            if there != wanted:
                found.append(f"{key}: {there} instead of {wanted}")
        return found
