"""Reads and writes by key against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from inference.deadline import Deadline
from inference.shards import BUCKETS, BucketMap, BucketMoved, FixedMap, MapFile, Shards, ShardUnavailable, bucket_of

READ = "SELECT entity_id, features FROM {schema}.features WHERE entity_id = ANY(%s)"
UPSERT = (
    "INSERT INTO {schema}.features (entity_id, features) VALUES (%s, %s) "
    "ON CONFLICT (entity_id) DO UPDATE SET features = excluded.features RETURNING entity_id"
)
KEYS = [f"entity-{number}" for number in range(6)]


def halves(version: int = 1) -> BucketMap:
    return BucketMap(version, 2, tuple(int(bucket >= 128) for bucket in range(BUCKETS)))


def write_map(path: Path, found: BucketMap) -> None:
    path.write_text(json.dumps({"version": found.version, "shards": found.shards, "buckets": found.owners}))


async def test_write_then_read(postgres: Any) -> None:
    postgres.own(KEYS)
    async with Shards(postgres.address()) as shards:
        for number, key in enumerate(KEYS):
            written = await shards.write(key, UPSERT, (key, [float(number), 0.5]), Deadline.after(5), idempotent=True)
            assert written.count == 1
            assert written.rows == [(key,)]
        rows = await shards.read(KEYS, READ, Deadline.after(5))
    assert dict(rows) == {key: [float(number), 0.5] for number, key in enumerate(KEYS)}


async def test_keys_go_to_the_shards_of_the_map(postgres: Any) -> None:
    for shard in (0, 1):
        postgres.own([key for key in KEYS if (bucket_of(key) >= 128) == shard], f"features_{shard}")
    async with Shards(postgres.address(), buckets=FixedMap(halves())) as shards:
        for key in KEYS:
            await shards.write(key, UPSERT, (key, [1.0]), Deadline.after(5), idempotent=True)
        rows = await shards.read(KEYS, READ, Deadline.after(5))
    assert sorted(row[0] for row in rows) == KEYS
    for shard in (0, 1):
        for key in KEYS:
            if (bucket_of(key) >= 128) == shard:
                found = postgres.run(f"SELECT * FROM b{bucket_of(key):03d}.features", database=f"features_{shard}")  # noqa: S608
                assert [row[0] for row in found] == [key]


async def test_the_servers_own_limit_is_set_for_the_transaction_only(postgres: Any, pgbouncer: int) -> None:
    key = KEYS[0]
    postgres.own([key])
    shown = "SELECT current_setting('statement_timeout', %s IS NULL) || left('{schema}', 0)"
    for port in (postgres.port, pgbouncer):
        async with Shards(postgres.address(port=port), connections=1) as shards:
            [(limit,)] = await shards.read([key], shown, Deadline.after(4))
            assert limit == "2s" or 0 < int(limit.removesuffix("ms")) < 2000
        with psycopg.connect(postgres.address(port=port), prepare_threshold=None) as connection:
            assert connection.execute("SHOW statement_timeout").fetchone() == ("0",)


async def test_a_slow_statement_ends_by_the_deadline(postgres: Any) -> None:
    postgres.own(KEYS[:1])
    slow = "SELECT pg_sleep(30) FROM (SELECT %s::text[], '{schema}') AS unused"
    async with Shards(postgres.address(), connections=1) as shards:
        started = time.monotonic()
        with pytest.raises(ShardUnavailable, match=r"timeout|no answer in time"):
            await shards.read(KEYS[:1], slow, Deadline.after(0.6))
        assert time.monotonic() - started < 5
    # The server gave up by itself too: nobody is left to tell it.
    running = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND state = 'active'"
    until = time.monotonic() + 10
    while postgres.run(running) != [(0,)]:
        assert time.monotonic() < until
        await asyncio.sleep(0.05)


async def test_a_mistake_in_the_statement_is_told_at_once(postgres: Any) -> None:
    postgres.own(KEYS[:1])
    tried: list[str] = []
    async with Shards(postgres.address(), on_retry=lambda _, reason: tried.append(reason)) as shards:
        with pytest.raises(psycopg.errors.UndefinedColumn):
            await shards.read(KEYS[:1], READ.replace("features FROM", "nonsense FROM"), Deadline.after(5))
        with pytest.raises(psycopg.errors.NotNullViolation):
            await shards.write(KEYS[0], UPSERT, (KEYS[0], None), Deadline.after(5), idempotent=True)
        # The connection that had the failed transaction is fit for use.
        await shards.write(KEYS[0], UPSERT, (KEYS[0], [1.0]), Deadline.after(5), idempotent=True)
    assert tried == []


async def test_database_down_is_a_typed_error_within_the_deadline(postgres: Any, proxy: Callable[..., Any]) -> None:
    postgres.own(KEYS[:1])
    async with proxy(postgres.port) as between, Shards(postgres.address(port=between.port)) as shards:
        await shards.read(KEYS[:1], READ, Deadline.after(5))
        between.accepting = False
        for writer in list(between.open):
            writer.transport.abort()
        for call in (
            shards.read(KEYS[:1], READ, Deadline.after(0.5)),
            shards.write(KEYS[0], UPSERT, (KEYS[0], [1.0]), Deadline.after(0.5), idempotent=False),
        ):
            started = time.monotonic()
            with pytest.raises(ShardUnavailable):
                await call
            assert time.monotonic() - started < 0.5 + 3
        # And back again, within one call's deadline.
        reading = asyncio.create_task(shards.read(KEYS[:1], READ, Deadline.after(20)))
        await asyncio.sleep(0.3)
        between.accepting = True
        await reading


async def test_frozen_server_costs_the_deadline_and_no_more(postgres: Any, proxy: Callable[..., Any]) -> None:
    """A peer that neither answers nor closes: psycopg alone would wait seconds for its cancel request."""
    postgres.own(KEYS[:1])
    async with proxy(postgres.port) as between, Shards(postgres.address(port=between.port)) as shards:
        await shards.read(KEYS[:1], READ, Deadline.after(5))
        between.on_sent = lambda data: "hang" if b"SELECT" in data else ""
        started = time.monotonic()
        with pytest.raises(ShardUnavailable):
            await shards.read(KEYS[:1], READ, Deadline.after(0.6))
        assert time.monotonic() - started < 0.6 + 3
        between.on_sent = lambda _: ""
        await shards.read(KEYS[:1], READ, Deadline.after(5))


async def test_killed_backends_are_retried(postgres: Any, pgbouncer: int) -> None:
    postgres.own(KEYS)
    tried: list[str] = []
    address = postgres.address(port=pgbouncer)
    async with Shards(address, on_retry=lambda _, reason: tried.append(reason)) as shards:
        for key in KEYS:
            await shards.write(key, UPSERT, (key, [1.0]), Deadline.after(5), idempotent=False)
        for number in range(20):
            postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'")
            key = KEYS[number % len(KEYS)]
            await shards.write(key, UPSERT, (key, [2.0]), Deadline.after(10), idempotent=True)
            assert await shards.read([key], READ, Deadline.after(10)) == [(key, [2.0])]
    assert set(tried) <= {"connection", "unconfirmed"}


async def test_a_moved_bucket_is_found_through_the_new_map(postgres: Any, tmp_path: Path) -> None:
    key = KEYS[0]
    bucket = bucket_of(key)
    home = halves().owners[bucket]
    for shard in (0, 1):
        postgres.own([key], f"features_{shard}")
    file = tmp_path / "map.json"
    write_map(file, halves())
    tried: list[str] = []
    buckets = MapFile(file)
    buckets.LOOK_EVERY_S = 3600  # only being told "moved" makes it look
    async with Shards(postgres.address(), buckets=buckets, on_retry=lambda _, reason: tried.append(reason)) as shards:
        await shards.write(key, UPSERT, (key, [1.0]), Deadline.after(5), idempotent=False)
        postgres.run(f"REVOKE INSERT, UPDATE ON b{bucket:03d}.features FROM app", database=f"features_{home}")
        # Fenced, and the map not flipped: it waits, and says what it waited for.
        with pytest.raises(BucketMoved):
            await shards.write(key, UPSERT, (key, [2.0]), Deadline.after(0.3), idempotent=False)
        assert set(tried) == {"moved"}
        writing = asyncio.create_task(shards.write(key, UPSERT, (key, [3.0]), Deadline.after(10), idempotent=False))
        await asyncio.sleep(0.1)
        owners = list(halves().owners)
        owners[bucket] = 1 - home
        write_map(file, BucketMap(2, 2, tuple(owners)))
        await writing
        assert shards.map.version == 2
        assert await shards.read([key], READ, Deadline.after(5)) == [(key, [3.0])]
        # A schema that has left says the same as one that is fenced.
        postgres.run(f"DROP SCHEMA b{bucket:03d} CASCADE", database=f"features_{1 - home}")
        with pytest.raises(BucketMoved):
            await shards.read([key], READ, Deadline.after(0.3))


async def test_a_read_only_server_is_waited_out(postgres: Any) -> None:
    key = KEYS[0]
    postgres.own([key])
    tried: list[str] = []
    postgres.run("ALTER ROLE app SET default_transaction_read_only = on")
    try:
        async with Shards(postgres.address(), on_retry=lambda _, reason: tried.append(reason)) as shards:
            with pytest.raises(ShardUnavailable):
                await shards.write(key, UPSERT, (key, [1.0]), Deadline.after(0.3), idempotent=False)
    finally:
        postgres.run("ALTER ROLE app RESET default_transaction_read_only")
    assert set(tried) == {"read_only"}


async def test_many_callers_share_few_connections(postgres: Any, pgbouncer: int) -> None:
    postgres.own(KEYS)
    async with Shards(postgres.address(port=pgbouncer), connections=2) as shards:
        for key in KEYS:
            await shards.write(key, UPSERT, (key, [1.0]), Deadline.after(5), idempotent=True)
        answers = await asyncio.gather(*(shards.read([KEYS[n % 6]], READ, Deadline.after(30)) for n in range(300)))
    assert all(len(rows) == 1 for rows in answers)


async def test_server_stopped_and_continued(postgres: Any) -> None:
    """A frozen process, as a frozen pod is."""
    postgres.own(KEYS[:1])
    async with Shards(postgres.address(), connections=1) as shards:
        await shards.read(KEYS[:1], READ, Deadline.after(5))
        backends = [row[0] for row in postgres.run("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")]
        for pid in [postgres.process.pid, *backends]:
            os.kill(pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            with pytest.raises(ShardUnavailable):
                await shards.read(KEYS[:1], READ, Deadline.after(0.5))
            assert time.monotonic() - started < 0.5 + 3
        finally:
            for pid in [postgres.process.pid, *backends]:
                os.kill(pid, signal.SIGCONT)
        assert await shards.read(KEYS[:1], READ, Deadline.after(20)) == []
