"""Write a checked table into the shards: windows of rows, in each a batch a bucket, several batches at once.

Everything goes through the shard client (`inference.shards`): it finds the bucket's shard, retries within a deadline,
follows a bucket that moves, and may send an upsert again whose commit was not confirmed, because twice equals once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass
from itertools import islice

import psycopg

from headroom.errors import EnvironmentFailure
from headroom.ops.features.check import Checked, Entity, entities
from headroom.ops.features.journal import Journal
from headroom.ops.features.reach import Store
from headroom.ops.features.table import Table
from inference.deadline import Deadline
from inference.shards import ShardError, Shards, bucket_of

WINDOW_ROWS = 25_600
"""Rows between two notes in the journal: a hundred a bucket, so that a round trip is worth its while."""
BATCH_ROWS = 500
CONNECTIONS_PER_SHARD = 4
"""Of PgBouncer's pool, which the services use too."""
BATCH_DEADLINE_S = 60.0
"""Longer than a failover takes."""
# Rows that are there already as they should be are left alone: a second load of the same file writes next to nothing.
UPSERT = (
    "INSERT INTO {schema}.features AS old (entity_id, features) "
    "SELECT key, text::double precision[] FROM unnest(%s::text[], %s::text[]) AS given (key, text) "
    "ON CONFLICT (entity_id) DO UPDATE SET features = EXCLUDED.features, updated_at = now() "
    "WHERE old.features IS DISTINCT FROM EXCLUDED.features"
)


@dataclass(frozen=True)
class Loaded:
    """What a load did: `skipped` rows were there from the run that was stopped before, `retries` were invisible."""

    rows: int
    skipped: int
    retries: int


def load(
    table: Table,
    checked: Checked,
    store: Store,
    journal: Journal,
    tell: Callable[[int], None] = lambda _: None,
    *,
    window_rows: int = WINDOW_ROWS,
) -> Loaded:
    """Write every row; `tell` hears how many are in the shards. Goes on where the journal says.

    Raises EnvironmentFailure when a shard stays away for longer than a failover takes; the same call then goes on.
    """
    return asyncio.run(_load(table, checked, store, journal, tell, window_rows))


async def _load(
    table: Table, checked: Checked, store: Store, journal: Journal, tell: Callable[[int], None], window_rows: int
) -> Loaded:
    done = skipped = min(journal.rows(), checked.rows)
    retries = 0

    def again(_shard: int, _reason: str) -> None:
        nonlocal retries
        retries += 1

    rows = islice(entities(table, checked.width), skipped, None)
    tell(done)
    connections = CONNECTIONS_PER_SHARD * store.buckets.current().shards
    async with Shards(store.address, buckets=store.buckets, connections=connections, on_retry=again) as shards:
        while window := list(islice(rows, window_rows)):
            written = done
            async with aclosing(_written(shards, window, connections)) as batches:
                async for batch in batches:
                    written += batch
                    tell(written)
            done += len(window)
            journal.write(done)
    journal.forget()
    return Loaded(done, skipped, retries)


async def _written(shards: Shards, window: list[Entity], at_once: int):  # type: ignore[no-untyped-def]
    """Write a window; gives the rows of each batch as it is in. The first failure stops the others."""
    todo = _batches(window)
    running: set[asyncio.Task[int]] = set()
    try:
        while True:
            running |= {asyncio.create_task(_write(shards, b)) for b in islice(todo, at_once - len(running))}
            if not running:
                return
            ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                yield task.result()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _batches(window: list[Entity]) -> Iterator[list[Entity]]:
    """The window by bucket, in parts."""
    buckets: dict[int, list[Entity]] = defaultdict(list)
    for found in window:
        buckets[bucket_of(found.key)].append(found)
    for rows in buckets.values():
        for start in range(0, len(rows), BATCH_ROWS):
            yield rows[start : start + BATCH_ROWS]


async def _write(shards: Shards, batch: list[Entity]) -> int:
    keys = [found.key for found in batch]
    texts = ["{" + ",".join(map(repr, found.features)) + "}" for found in batch]
    try:
        await shards.write(keys[0], UPSERT, (keys, texts), Deadline.after(BATCH_DEADLINE_S), idempotent=True)
    except (ShardError, psycopg.Error) as error:
        raise EnvironmentFailure(
            f"the load stopped: {str(error).strip().splitlines()[0]}",
            fix="see headroom verify, and run the same command again: it goes on from there",
        ) from error
    return len(batch)
