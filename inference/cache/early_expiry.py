"""Entries that are loaded again before they expire, by one reader, while the others keep the old value.

In the last part of an entry's life each reader decides by chance whether to refresh it, ever more likely towards the
end; a short lock lets one of them do it. So a popular entry never expires under its readers, and its load never comes
twice. Where there is no entry at all, the lock's holder loads and the others wait for what it stores.

The ramp is linear; XFetch (Vattani et al., doi:10.14778/2757807.2757813) weighs by the load's duration instead, and
would act only in the last second of a long life.
"""

from __future__ import annotations

import asyncio
import logging
import random
import struct
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from inference.cache.stores import Store
from inference.deadline import Deadline
from inference.errors import Overloaded, RequestError

log = logging.getLogger(__name__)
Load = Callable[[Sequence[str], Deadline], Awaitable[Mapping[str, bytes]]]
# Before each value: a mark of this format, and when it expires, in milliseconds since 1970.
_HEAD = struct.Struct("<2sQ")
_MARK = b"f1"
_LOCK_MARGIN_S = 0.5


def refresh_probability(remaining_s: float, ttl_s: float, early_fraction: float) -> float:
    """The chance that a reader refreshes: `1 − remaining / (early_fraction × ttl)` inside that window, 0 before it."""
    window = early_fraction * ttl_s
    return 0.0 if remaining_s >= window else min(1.0, 1 - remaining_s / window)


@dataclass(frozen=True, slots=True)
class CacheRules:
    """`ttl_s` is an entry's life, `load_timeout_s` bounds one load, `loads_limit` the keys being loaded at once."""

    ttl_s: float
    early_fraction: float
    load_timeout_s: float
    loads_limit: int


class EarlyExpiryCache:
    """Belongs to one event loop; any number of them, in any number of processes, may share a store."""

    def __init__(
        self,
        store: Store,
        load: Load,
        rules: CacheRules,
        *,
        count: Callable[[str], None] = lambda _: None,
        chance: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`load` gives the values of the keys that exist. `count` is told "hit", "refresh" or "miss" for every read."""
        self._store = store
        self._load = load
        self._rules = rules
        self._count = count
        self._chance = chance
        self._clock = clock
        self._lock_ms = int((rules.load_timeout_s + _LOCK_MARGIN_S) * 1000)
        self._flights: dict[str, asyncio.Task[dict[str, bytes]]] = {}
        self._refreshes: dict[str, asyncio.Task[None]] = {}

    async def get(self, key: str, deadline: Deadline) -> bytes | None:
        """The value, or None where the loader has none. Raises what the loader raises, or Overloaded."""
        if kept := await self._store.get(key, deadline.remaining()):
            value = self._use(key, kept)
            if value is not None:
                return value
        self._count("miss")
        return (await asyncio.shield(self._flight([key]))).get(key)

    async def get_many(self, keys: Sequence[str], deadline: Deadline) -> dict[str, bytes]:
        """The values that there are. Raises as `get`."""
        values: dict[str, bytes] = {}
        for key, kept in (await self._store.get_many(keys, deadline.remaining())).items():
            value = self._use(key, kept)
            if value is not None:
                values[key] = value
        missing = [key for key in keys if key not in values]
        for _ in missing:
            self._count("miss")
        flights = {self._flights[key] for key in missing if key in self._flights}
        if alone := [key for key in missing if key not in self._flights]:
            flights.add(self._flight(alone))
        for flight in flights:
            found = await asyncio.shield(flight)
            values.update((key, found[key]) for key in missing if key in found)
        return values

    async def close(self) -> None:
        """End the loads that nobody waits for any more."""
        tasks = [*self._refreshes.values(), *self._flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _use(self, key: str, kept: bytes) -> bytes | None:
        """The value of an entry, and its early refresh. None for bytes of another format."""
        remaining = self._remaining(kept)
        if remaining is None:
            return None
        chance = refresh_probability(remaining, self._rules.ttl_s, self._rules.early_fraction)
        if chance and key not in self._refreshes and self._chance() < chance:
            self._count("refresh")
            task = asyncio.get_running_loop().create_task(self._refresh(key))
            self._refreshes[key] = task
            task.add_done_callback(lambda _: self._refreshes.pop(key, None))
        else:
            self._count("hit")
        return kept[_HEAD.size :]

    def _remaining(self, kept: bytes) -> float | None:
        """Seconds that an entry has left; None for bytes of another format."""
        if len(kept) < _HEAD.size:
            return None
        mark, expires_ms = _HEAD.unpack_from(kept)
        return expires_ms / 1000 - self._clock() if mark == _MARK else None

    async def _refresh(self, key: str) -> None:
        """Load one entry again beside its readers. After a failure the lock stays, and keeps the next try away."""
        if not await self._store.lock(key, self._lock_ms):
            return
        try:
            # Whoever held the lock before may have refreshed it since it was read.
            kept = await self._store.get(key, self._rules.load_timeout_s)
            remaining = self._remaining(kept) if kept else None
            if remaining is None or remaining < self._rules.early_fraction * self._rules.ttl_s:
                await self._load_and_keep([key])
        except RequestError as error:
            log.warning("an early refresh failed, the old value stays: %s", error)
        except Exception:
            log.exception("an early refresh failed, the old value stays")
        else:
            await self._store.unlock(key)

    def _flight(self, keys: list[str]) -> asyncio.Task[dict[str, bytes]]:
        """The load of keys that have no entry: one for all who wait for it. It outlives a caller that gives up."""
        if len(keys) == 1 and (running := self._flights.get(keys[0])):
            return running
        if len(self._flights) >= self._rules.loads_limit:
            raise Overloaded(f"{len(self._flights)} loads from the feature store are under way already")
        task = asyncio.get_running_loop().create_task(self._load_once(keys))
        self._flights.update((key, task) for key in keys)

        def landed(_: object) -> None:
            for key in keys:
                self._flights.pop(key, None)
            if not task.cancelled():
                task.exception()  # whoever waited has it; without anyone it is not worth a traceback

        task.add_done_callback(landed)
        return task

    async def _load_once(self, keys: list[str]) -> dict[str, bytes]:
        """Load those keys whose lock is ours, and wait for what the holders of the others store."""
        until = Deadline.after(self._lock_ms / 1000)
        values: dict[str, bytes] = {}
        left = list(keys)
        pause = 0.005
        while left:
            locks = await asyncio.gather(*(self._store.lock(key, self._lock_ms) for key in left))
            mine = [key for key, held in zip(left, locks, strict=True) if held]
            try:
                # Also those that are ours: their holders before us may just have stored them.
                for key, kept in (await self._store.get_many(left, self._rules.load_timeout_s)).items():
                    if self._remaining(kept) is not None:
                        values[key] = kept[_HEAD.size :]
                left = [key for key in left if key not in values]
                # A holder that is not done by now has died.
                if ours := left if until.passed() else [key for key in left if key in mine]:
                    values.update(await self._load_and_keep(ours))
                    left = [key for key in left if key not in ours]
            finally:
                await asyncio.gather(*(self._store.unlock(key) for key in mine))
            if left:
                await asyncio.sleep(pause)
                pause = min(pause * 2, 0.05)
        return values

    async def _load_and_keep(self, keys: list[str]) -> Mapping[str, bytes]:
        values = await self._load(keys, Deadline.after(self._rules.load_timeout_s))
        head = _HEAD.pack(_MARK, int((self._clock() + self._rules.ttl_s) * 1000))
        await self._store.set_many({key: head + value for key, value in values.items()}, int(self._rules.ttl_s * 1000))
        return values
