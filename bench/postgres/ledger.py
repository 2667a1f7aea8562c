"""Continuous writes, and a record of every one that was acknowledged.

Writers run in a thread of their own through the shard client, each write a new key with its own deadline. At the end
every acknowledged key must be in the database.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import psycopg

from inference.deadline import Deadline
from inference.shards import BucketMap, FixedMap, OutcomeUnknown, ShardError, Shards, bucket_of, schema_of

INSERT = "INSERT INTO {schema}.features (entity_id, features) VALUES (%s, %s) ON CONFLICT (entity_id) DO NOTHING"


@dataclass
class Ledger:
    """Writes to one shard while the block runs. Times are of the monotonic clock."""

    address: str
    buckets: BucketMap
    shard: int
    run: str
    writers: int = 4
    deadline_s: float = 2.0
    acknowledged: list[tuple[float, str]] = field(default_factory=list)
    failed: list[tuple[float, str]] = field(default_factory=list)
    """What the client gave up within its deadline."""
    retries: Counter[str] = field(default_factory=Counter)
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def writing(self) -> Iterator[Ledger]:
        """Write for the length of the block; it begins once the first write is acknowledged."""
        thread = threading.Thread(target=lambda: asyncio.run(self._write()), daemon=True)
        thread.start()
        try:
            self.wait_for(1)
            yield self
        finally:
            self._stop.set()
            thread.join(30)

    def wait_for(self, more: int, seconds: float = 90) -> None:
        """Until that many more writes are acknowledged. Raises TimeoutError."""
        wanted, deadline = len(self.acknowledged) + more, time.monotonic() + seconds
        while len(self.acknowledged) < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no {more} writes within {seconds:.0f} s; the last failure: {self.failed[-1:]}")
            time.sleep(0.01)

    def outage(self, since: float = 0.0) -> float:
        """The longest time without an acknowledged write that ended after `since`."""
        times = sorted(at for at, _ in self.acknowledged)
        return max((b - a for a, b in pairwise(times) if b >= since), default=0.0)

    def lost(self, connection: psycopg.Connection) -> list[str]:
        """Acknowledged keys that the database does not have. `connection` is to the shard's database."""
        by_bucket: dict[int, list[str]] = {}
        for _, key in self.acknowledged:
            by_bucket.setdefault(bucket_of(key), []).append(key)
        missing = []
        for bucket, keys in by_bucket.items():
            select = f"SELECT entity_id FROM {schema_of(bucket)}.features WHERE entity_id = ANY(%s)"  # noqa: S608
            there = {row[0] for row in connection.execute(select, (keys,))}
            missing += [key for key in keys if key not in there]
        return missing

    async def _write(self) -> None:
        shards = Shards(
            self.address,
            buckets=FixedMap(self.buckets),
            connections=self.writers * self.buckets.shards,
            on_retry=lambda _shard, reason: self.retries.update([reason]),
        )
        async with shards:
            await asyncio.gather(*(self._writer(shards, n) for n in range(self.writers)))

    async def _writer(self, shards: Shards, writer: int) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            key = f"{self.run}-{writer}-{number}"
            if self.buckets.owners[bucket_of(key)] != self.shard:
                continue
            try:
                await shards.write(key, INSERT, (key, [1.0]), Deadline.after(self.deadline_s), idempotent=True)
            except OutcomeUnknown as error:
                self.failed.append((time.monotonic(), f"unknown: {error}"))
            except (ShardError, psycopg.Error) as error:
                self.failed.append((time.monotonic(), f"{type(error).__name__}: {error}"))
            else:
                self.acknowledged.append((time.monotonic(), key))
