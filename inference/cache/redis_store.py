"""The store in Redis.

Reads that come while others are under way share one MGET, as the model's batches do: nothing waits to be joined, and
the number of connections is bounded without a queue of single commands. After a failure Redis is left alone for a
second, so that a cache that is down costs one timeout a second, not one a request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from time import monotonic
from typing import Any, TypeVar

from redis.asyncio.cluster import RedisCluster

from inference.redis_client import Client

log = logging.getLogger(__name__)
T = TypeVar("T")
PREFIX = "headroom:features:"
LOCK_PREFIX = "headroom:features-lock:"
_LEFT_ALONE_S = 1.0
_MOST_KEYS = 256


class RedisStore:
    """A Store over any of the three kinds of Redis."""

    def __init__(self, client: Client, *, timeout_s: float, connections: int, on_error: Callable[[], None]) -> None:
        """`timeout_s` bounds a command, `connections` the commands at once; `on_error` hears of each failure."""
        self._client = client
        self._timeout_s = timeout_s
        self._reads = connections
        self._others = asyncio.Semaphore(connections)
        self._on_error = on_error
        self._wanted: dict[str, list[asyncio.Future[bytes | None]]] = {}
        self._reading: set[asyncio.Task[None]] = set()
        self._due = False
        self._down_until = 0.0

    async def get(self, key: str, seconds: float) -> bytes | None:
        """The value, from the next MGET."""
        if self._down():
            return None
        future = self._want(key)
        try:
            async with asyncio.timeout(min(seconds, 2 * self._timeout_s)):
                return await future
        except TimeoutError:
            return None

    async def get_many(self, keys: Sequence[str], seconds: float) -> dict[str, bytes]:
        """Those values that there are."""
        if self._down():
            return {}
        futures = {key: self._want(key) for key in keys}
        await asyncio.wait(futures.values(), timeout=min(seconds, 2 * self._timeout_s))
        done = {key: future.result() for key, future in futures.items() if future.done() and not future.cancelled()}
        return {key: value for key, value in done.items() if value is not None}

    async def set_many(self, values: Mapping[str, bytes], ttl_ms: int) -> None:
        """Keep the values for that long."""
        await asyncio.gather(*(self._set(key, value, ttl_ms) for key, value in values.items()))

    async def lock(self, key: str, ttl_ms: int) -> bool:
        """`SET NX PX`."""
        if self._down():
            return True
        failed = object()
        answer = await self._run(lambda: self._client.set(LOCK_PREFIX + key, b"1", nx=True, px=ttl_ms), failed)
        return answer is failed or bool(answer)

    async def unlock(self, key: str) -> None:
        """Delete the lock."""
        await self._run(lambda: self._client.delete(LOCK_PREFIX + key))

    async def close(self) -> None:
        """Close the connections."""
        for task in list(self._reading):
            task.cancel()
        await self._client.aclose()

    async def _set(self, key: str, value: bytes, ttl_ms: int) -> None:
        await self._run(lambda: self._client.set(PREFIX + key, value, px=ttl_ms))

    def _want(self, key: str) -> asyncio.Future[bytes | None]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bytes | None] = loop.create_future()
        self._wanted.setdefault(key, []).append(future)
        if not self._due and len(self._reading) < self._reads:
            self._due = True
            loop.call_soon(self._read_next)
        return future

    def _read_next(self) -> None:
        self._due = False
        while self._wanted and len(self._reading) < self._reads:
            keys = list(self._wanted)[:_MOST_KEYS]
            task = asyncio.get_running_loop().create_task(self._read([(key, self._wanted.pop(key)) for key in keys]))
            self._reading.add(task)
            task.add_done_callback(self._read_done)

    def _read_done(self, task: asyncio.Task[None]) -> None:
        self._reading.discard(task)
        if self._wanted:
            self._read_next()

    async def _read(self, wanted: list[tuple[str, list[asyncio.Future[bytes | None]]]]) -> None:
        names = [PREFIX + key for key, _ in wanted]
        values: list[bytes | None] = []
        try:
            values = await self._guarded(lambda: self._mget(names), [])
        finally:
            for place, (_, futures) in enumerate(wanted):
                for future in futures:
                    if not future.done():
                        future.set_result(values[place] if values else None)

    async def _mget(self, names: list[str]) -> Any:
        if isinstance(self._client, RedisCluster):
            # A slot each: the client groups them by node.
            return await self._client.mget_nonatomic(names)
        return await self._client.mget(names)

    async def _run(self, command: Callable[[], Awaitable[Any]], otherwise: Any = None) -> Any:
        if self._down():
            return otherwise
        async with self._others:
            return await self._guarded(command, otherwise)

    async def _guarded(self, command: Callable[[], Awaitable[Any]], otherwise: T) -> Any | T:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await command()
        except Exception as error:  # redis-py lets AttributeError and others out of a connection closed under it
            if not self._down():
                log.warning("Redis does not answer, doing without for a second: %s", str(error) or type(error).__name__)
            self._down_until = monotonic() + _LEFT_ALONE_S
            self._on_error()
            return otherwise

    def _down(self) -> bool:
        return monotonic() < self._down_until
