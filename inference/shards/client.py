"""Reads and writes by key: find the shard, try, and try again while the deadline and safety allow."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow
from psycopg_pool import PoolClosed, PoolTimeout

from inference.deadline import Deadline
from inference.shards.bucket_map import BucketMap, Buckets, FixedMap, MapInvalid
from inference.shards.buckets import bucket_of, schema_of
from inference.shards.connection import Pool, ShardConnection, commit, make_pool, prepare_write, query, within
from inference.shards.errors import BucketMoved, OutcomeUnknown, ShardUnavailable
from inference.shards.failures import AttemptTimeout, CommitUnconfirmed, Reason, why_again

log = logging.getLogger(__name__)
# Less than this is not worth another attempt.
_LEAST_ATTEMPT_S = 0.02
_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5
# A bucket's move refuses it for some hundredths of a second.
_LONGEST_MOVE_PAUSE_S = 0.05
# Asking for the map is one short read.
_ASK_S = 1.0
_MAP = "SELECT version, owners FROM headroom.map"

OnRetry = Callable[[int, str], None]


@dataclass(frozen=True, slots=True)
class Written:
    """What a write did: rows that it returned, and the number of rows that it changed."""

    rows: list[TupleRow]
    count: int


@dataclass(slots=True)
class _Attempts:
    """The retries of one call."""

    deadline: Deadline
    on_retry: OnRetry
    made: int = 0
    causes: list[str] = field(default_factory=list)

    def share(self) -> float:
        """Seconds for the next attempt: half of what is left, so that one frozen server does not eat the deadline."""
        return max(_LEAST_ATTEMPT_S, self.deadline.remaining() / 2)

    async def pause(self, shard: int, reason: Reason, error: BaseException) -> None:
        """Wait before the next attempt: not before the second, then ever longer, spread so that callers do not march in
        step. Raises ShardUnavailable or BucketMoved when no time is left for it."""
        self.made += 1
        self.on_retry(shard, reason)
        most = _LONGEST_MOVE_PAUSE_S if reason is Reason.MOVED else _LONGEST_PAUSE_S
        longest = 0.0 if self.made == 1 else min(most, _PAUSE_S * 2 ** min(self.made - 2, 10))
        pause = longest * random.uniform(0.5, 1)  # noqa: S311 - spread, not a secret
        if self.deadline.remaining() - pause < _LEAST_ATTEMPT_S:
            kind = BucketMoved if reason is Reason.MOVED else ShardUnavailable
            told = str(error).strip().splitlines()
            what = f"shard {shard} gave no answer in time, {self.made} attempts, the last: {reason}"
            raise kind(f"{what} ({told[0] if told else type(error).__name__})", shard=shard) from error
        if pause:
            await asyncio.sleep(pause)


class Shards:
    """Pools to every shard at one PgBouncer address. Use as an async context manager, in one event loop."""

    def __init__(
        self, address: str, *, buckets: Buckets | None = None, connections: int = 4, on_retry: OnRetry | None = None
    ) -> None:
        """`address` is a libpq connection string whose database is that of a store without a map; with one, the shard's
        number is appended (`features` → `features_0` …). `connections` are shared out over all shards, at least one
        each. `on_retry` is told the shard and the reason of every attempt that is repeated.
        """
        self._address = address
        self._database = str(conninfo_to_dict(address).get("dbname") or "features")
        self._buckets = buckets or FixedMap()
        self._connections = connections
        self._on_retry: OnRetry = on_retry or (lambda _shard, _reason: None)
        self._pools: dict[str, Pool] = {}
        self._shards = self._buckets.current().shards
        # One question at a time, however many calls were refused; who comes meanwhile shares the answer.
        self._asking: asyncio.Task[None] | None = None
        if self._shards > connections:
            log.warning("%d connections for %d shards: one each is opened", connections, self._shards)

    async def __aenter__(self) -> Shards:
        """Nothing connects yet: connections open when they are needed."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close every pool."""
        for pool in self._pools.values():
            await pool.close(timeout=1)
        self._pools.clear()

    @property
    def map(self) -> BucketMap:
        """The bucket map in use."""
        return self._buckets.current()

    async def read(self, keys: Sequence[str], statement: LiteralString, deadline: Deadline) -> list[TupleRow]:
        """Rows of all keys, in no order: one round trip a shard, all shards at once.

        `statement` is a SELECT with `{schema}` where the bucket's schema belongs, and one `%s`, which becomes an array
        of the bucket's keys. Raises ShardUnavailable, BucketMoved, or psycopg's error for a statement that is wrong.
        """
        attempts = _Attempts(deadline, self._on_retry)
        rows: list[TupleRow] = []
        left = set(keys)
        while left:
            groups = self._by_shard(left)
            outcomes = await asyncio.gather(
                *(self._read_shard(shard, found, statement, attempts.share()) for shard, found in groups.items()),
                return_exceptions=True,
            )
            failed: tuple[int, Reason, BaseException] | None = None
            for (shard, found), outcome in zip(groups.items(), outcomes, strict=True):
                if not isinstance(outcome, BaseException):
                    rows += outcome
                    left.difference_update(key for bucket in found.values() for key in bucket)
                    continue
                reason = why_again(outcome)
                if reason is None:
                    raise outcome
                failed = (shard, reason, outcome)
            if failed:
                await self._learn(failed[0], failed[1], attempts)
                await attempts.pause(*failed)
        return rows

    async def write(
        self, key: str, statement: LiteralString, params: Sequence[Any], deadline: Deadline, *, idempotent: bool
    ) -> Written:
        """Run one data-changing statement in its own transaction on the key's shard.

        `statement` has `{schema}` where the bucket's schema belongs. An attempt that failed before its COMMIT was sent
        is repeated, for it changed nothing. One whose COMMIT was not confirmed is repeated only if `idempotent` says
        that applying it twice equals once; else OutcomeUnknown is raised. Further: ShardUnavailable, BucketMoved, and
        psycopg's errors for a statement that is refused.
        """
        attempts = _Attempts(deadline, self._on_retry)
        bucket = bucket_of(key)
        text = sql.SQL(statement).format(schema=sql.Identifier(schema_of(bucket)))
        while True:
            shard = self._buckets.current().owners[bucket]
            try:
                return await self._write_once(shard, text, params, attempts)
            except (psycopg.Error, AttemptTimeout, CommitUnconfirmed, OSError) as error:
                reason = why_again(error)
                if reason is None:
                    raise
                unknown = f"shard {shard} did not confirm the commit, the write may have been applied: {error}"
                if reason is Reason.UNCONFIRMED and not idempotent:
                    raise OutcomeUnknown(unknown, shard=shard) from error
                failure = error
            await self._learn(shard, reason, attempts)
            try:
                await attempts.pause(shard, reason, failure)
            except ShardUnavailable as over:
                if "unconfirmed" in attempts.causes or reason is Reason.UNCONFIRMED:
                    raise OutcomeUnknown(unknown, shard=shard) from over
                raise
            attempts.causes.append(reason)

    async def _read_shard(
        self, shard: int, found: dict[int, list[str]], statement: LiteralString, seconds: float
    ) -> list[TupleRow]:
        """One attempt at all the buckets that are wanted of a shard."""
        parts = [sql.SQL(statement).format(schema=sql.Identifier(schema_of(bucket))) for bucket in found]
        async with self._connection(shard, seconds) as (connection, left):
            text = sql.SQL(" UNION ALL ").join(parts)
            return await within(connection, query(connection, text, list(found.values()), left()), left())

    async def _write_once(self, shard: int, text: sql.Composed, params: Sequence[Any], attempts: _Attempts) -> Written:
        async with self._connection(shard, attempts.share()) as (connection, left):
            rows, count = await within(connection, prepare_write(connection, text, params, left()), left())
            # From here on only the answer tells; it gets all the time that there is.
            await commit(connection, max(_LEAST_ATTEMPT_S, attempts.deadline.remaining()))
            return Written(rows, count)

    @asynccontextmanager
    async def _connection(
        self, shard: int, seconds: float
    ) -> AsyncIterator[tuple[ShardConnection, Callable[[], float]]]:
        """A connection to the shard, and how much of `seconds` is left; goes back clean, or not at all."""
        until = Deadline.after(seconds)
        pool = await self._pool(shard)
        connection = await pool.getconn(timeout=seconds)
        try:
            yield connection, lambda: max(0.001, until.remaining())
        finally:
            await self._give_back(pool, connection)

    async def _give_back(self, pool: Pool, connection: ShardConnection) -> None:
        status = connection.info.transaction_status
        if status in (TransactionStatus.INTRANS, TransactionStatus.INERROR):
            with suppress(psycopg.Error, AttemptTimeout):
                await within(connection, connection.execute("ROLLBACK"), 0.2)
        if connection.info.transaction_status != TransactionStatus.IDLE:
            await connection.close()
        await pool.putconn(connection)

    async def _pool(self, shard: int) -> Pool:
        """The shard's pool, opened; sizes follow the number of shards."""
        known = self._buckets.current()
        shards = max(known.shards, shard + 1)
        size = max(1, self._connections // shards)
        # Without a map there is one database. With one, a single shard has its number, too: it may get neighbours.
        database = f"{self._database}_{shard}" if known.version else self._database
        if shards != self._shards:
            self._shards = shards
            for other in self._pools.values():
                await other.resize(0, size)
        pool = self._pools.get(database)
        if pool is None:
            pool = self._pools[database] = make_pool(self._address, database, size, f"shard-{shard}")
            await pool.open()
        return pool

    def _by_shard(self, keys: set[str]) -> dict[int, dict[int, list[str]]]:
        owners = self._buckets.current().owners
        groups: dict[int, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
        for key in keys:
            bucket = bucket_of(key)
            groups[owners[bucket]][bucket].append(key)
        return groups

    async def _learn(self, shard: int, reason: Reason, attempts: _Attempts) -> None:
        """After a refusal: where is the bucket now? The shard that refused knows when it gave it away, and shard 0 has
        the authority. A connection that fails again and again may be to a shard that is no more."""
        moved = reason is Reason.MOVED
        if not moved and not (reason in (Reason.CONNECTION, Reason.TIMEOUT) and attempts.made >= 1):
            return
        before = self._buckets.current()
        if self._buckets.refresh() != before or not before.version:
            return
        if self._asking is None or self._asking.done():
            self._asking = asyncio.ensure_future(self._ask({0, shard} if moved else {0}))
        patience = attempts.deadline.remaining() / 2 if moved else _LONGEST_MOVE_PAUSE_S
        await asyncio.wait((self._asking,), timeout=max(_LEAST_ATTEMPT_S, patience))

    async def _ask(self, shards: set[int]) -> None:
        for found in await asyncio.gather(*(self._told(shard) for shard in shards)):
            if found is not None:
                self._buckets.learn(found)

    async def _told(self, shard: int) -> BucketMap | None:
        """The map that a shard has; None where it has none, or does not answer."""
        try:
            async with self._connection(shard, _ASK_S) as (connection, left):
                rows = await within(connection, query(connection, sql.SQL(_MAP), None, left()), left())
            return BucketMap.of(*rows[0]) if rows else None
        except (psycopg.Error, AttemptTimeout, OSError, PoolTimeout, PoolClosed, MapInvalid) as error:
            log.info("shard %d did not tell its bucket map: %s", shard, error)
            return None
