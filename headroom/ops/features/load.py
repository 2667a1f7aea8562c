"""Write a checked table into the shards: windows of rows, in each a batch a bucket, several batches at once.

Everything goes through the shard client (`inference.shards`): it finds the bucket's shard, retries within a deadline,
follows a bucket that moves, and may send an upsert again whose commit was not confirmed, because twice equals once.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterator
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
TRY_S = 5.0
"""One call of the shard client, which spends half of it on a server that does not answer."""
PATIENCE_S = 90.0
"""Longer than a failover takes: calls are repeated for so long, which is safe with upserts."""
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
    # Every attempt that is repeated: what matters of it is told at the end.
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
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
            await _write_window(shards, window, connections, done, tell)
            done += len(window)
            journal.write(done)
    journal.forget()
    return Loaded(done, skipped, retries)


async def _write_window(
    shards: Shards, window: list[Entity], at_once: int, done: int, tell: Callable[[int], None]
) -> None:
    """Write a window, so many batches at once. The first failure ends the others and is raised."""
    gate = asyncio.Semaphore(at_once)

    async def one(batch: list[Entity]) -> None:
        nonlocal done
        async with gate:
            await _write(shards, batch)
        done += len(batch)
        tell(done)

    try:
        async with asyncio.TaskGroup() as tasks:
            for batch in _batches(window):
                tasks.create_task(one(batch))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def _batches(window: list[Entity]) -> Iterator[list[Entity]]:
    """The window by bucket, in parts."""
    buckets: dict[int, list[Entity]] = defaultdict(list)
    for found in window:
        buckets[bucket_of(found.key)].append(found)
    for rows in buckets.values():
        for start in range(0, len(rows), BATCH_ROWS):
            yield rows[start : start + BATCH_ROWS]


async def _write(shards: Shards, batch: list[Entity]) -> None:
    keys = [found.key for found in batch]
    texts = ["{" + ",".join(map(repr, found.features)) + "}" for found in batch]
    until = Deadline.after(PATIENCE_S)
    while True:
        try:
            await shards.write(keys[0], UPSERT, (keys, texts), Deadline.after(TRY_S), idempotent=True)
        except (ShardError, psycopg.Error) as error:
            if isinstance(error, ShardError) and not until.passed():
                continue
            raise EnvironmentFailure(
                f"the load stopped: {str(error).strip().splitlines()[0]}",
                fix="see headroom verify, and run the same command again: it goes on from there",
            ) from error
        return
