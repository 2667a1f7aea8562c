"""A write that may have been applied is never sent twice, unless that does no harm.

A proxy breaks the connection at chosen moments; the table counts what really arrived.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from inference.deadline import Deadline
from inference.shards import OutcomeUnknown, Shards, bucket_of
from inference.shards.failures import refused_commit

KEY = "entity-once"
# Every application is a row, so applying it twice shows.
APPEND = "INSERT INTO {schema}.features (entity_id, features) VALUES (%s || gen_random_uuid()::text, %s)"
UPSERT = (
    "INSERT INTO {schema}.features (entity_id, features) VALUES (%s, %s) "
    "ON CONFLICT (entity_id) DO UPDATE SET features = excluded.features"
)


def rows(postgres: Any) -> int:
    return int(postgres.run(f"SELECT count(*) FROM b{bucket_of(KEY):03d}.features")[0][0])  # noqa: S608


class Once:
    """Breaks the first message that has the marker, in the given way, and counts all that have it."""

    def __init__(self, marker: bytes, verdict: str) -> None:
        self.marker, self.verdict, self.seen = marker, verdict, 0

    def __call__(self, data: bytes) -> str:
        if self.marker not in data:
            return ""
        self.seen += 1
        return self.verdict if self.seen == 1 else ""


@pytest.mark.parametrize(("verdict", "applied"), [("cut", 1), ("drop", 0), ("hang", 1)])
async def test_lost_commit_of_a_write_that_is_not_idempotent(
    postgres: Any, proxy: Callable[..., Any], verdict: str, applied: int
) -> None:
    postgres.own([KEY])
    async with proxy(postgres.port) as between, Shards(postgres.address(port=between.port)) as shards:
        between.on_sent = once = Once(b"COMMIT\0", verdict)
        started = time.monotonic()
        with pytest.raises(OutcomeUnknown, match="may have been applied"):
            await shards.write(KEY, APPEND, (KEY, [1.0]), Deadline.after(1), idempotent=False)
        assert time.monotonic() - started < 1 + 3
    assert once.seen == 1
    assert rows(postgres) == applied


@pytest.mark.parametrize("verdict", ["cut", "drop"])
async def test_lost_commit_of_an_idempotent_write_is_sent_again(
    postgres: Any, proxy: Callable[..., Any], verdict: str
) -> None:
    postgres.own([KEY])
    async with proxy(postgres.port) as between, Shards(postgres.address(port=between.port)) as shards:
        between.on_sent = once = Once(b"COMMIT\0", verdict)
        await shards.write(KEY, UPSERT, (KEY, [1.0]), Deadline.after(10), idempotent=True)
    assert once.seen == 2
    assert rows(postgres) == 1


@pytest.mark.parametrize("verdict", ["cut", "drop"])
async def test_what_fails_before_its_commit_is_sent_again(
    postgres: Any, proxy: Callable[..., Any], verdict: str
) -> None:
    postgres.own([KEY])
    async with proxy(postgres.port) as between, Shards(postgres.address(port=between.port)) as shards:
        between.on_sent = once = Once(b"INSERT INTO", verdict)
        await shards.write(KEY, APPEND, (KEY, [1.0]), Deadline.after(10), idempotent=False)
    assert once.seen == 2
    assert rows(postgres) == 1


async def test_idempotent_write_that_never_gets_through_says_that_it_may_have(
    postgres: Any, proxy: Callable[..., Any]
) -> None:
    postgres.own([KEY])
    async with proxy(postgres.port) as between, Shards(postgres.address(port=between.port)) as shards:
        between.on_sent = lambda data: "cut" if b"COMMIT\0" in data else ""
        with pytest.raises(OutcomeUnknown):
            await shards.write(KEY, UPSERT, (KEY, [1.0]), Deadline.after(1.5), idempotent=True)
    assert rows(postgres) == 1


async def test_a_commit_that_the_standby_did_not_confirm_is_unknown(postgres: Any) -> None:
    """Synchronous replication without its standby: cancelling the wait makes PostgreSQL answer with success."""
    postgres.own([KEY])
    postgres.run("ALTER SYSTEM SET synchronous_standby_names = 'absent'")
    postgres.run("SELECT pg_reload_conf()")
    try:
        async with Shards(postgres.address()) as shards:
            write = shards.write(KEY, APPEND, (KEY, [1.0]), Deadline.after(30), idempotent=False)
            writing = asyncio.create_task(write)
            while not postgres.run(  # noqa: ASYNC110 - another process does it
                "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app' AND wait_event = 'SyncRep'"
            ):
                await asyncio.sleep(0.02)
            with pytest.raises(OutcomeUnknown, match="might not have been replicated"):
                await writing
    finally:
        postgres.run("ALTER SYSTEM RESET synchronous_standby_names")
        postgres.run("SELECT pg_reload_conf()")
    assert rows(postgres) == 1


async def test_a_commit_that_the_server_refuses_is_its_error(postgres: Any) -> None:
    postgres.own([KEY])
    table = f"b{bucket_of(KEY):03d}.features"
    postgres.run(f"ALTER TABLE {table} ADD CONSTRAINT once UNIQUE (features) DEFERRABLE INITIALLY DEFERRED")
    async with Shards(postgres.address()) as shards:
        await shards.write(KEY, APPEND, (KEY, [1.0]), Deadline.after(5), idempotent=False)
        with pytest.raises(psycopg.errors.UniqueViolation):
            await shards.write(KEY, APPEND, (KEY, [1.0]), Deadline.after(5), idempotent=False)
    assert rows(postgres) == 1


def test_only_the_servers_own_error_proves_a_rollback() -> None:
    assert not refused_commit(psycopg.OperationalError("server closed the connection unexpectedly"))
    assert not refused_commit(psycopg.errors.AdminShutdown("terminating connection due to administrator command"))
