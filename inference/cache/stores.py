"""Where cached bytes are kept: the interface, and the store in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Protocol


class Store(Protocol):
    """Keeps bytes for a time. Never raises: a store that fails finds nothing and keeps nothing."""

    async def get(self, key: str, seconds: float) -> bytes | None:
        """The value, looked for no longer than that many seconds."""

    async def get_many(self, keys: Sequence[str], seconds: float) -> dict[str, bytes]:
        """Those values that there are."""

    async def set_many(self, values: Mapping[str, bytes], ttl_ms: int) -> None:
        """Keep the values for that long."""

    async def lock(self, key: str, ttl_ms: int) -> bool:
        """Whether the caller now holds the lock of this key, which ends by itself after that time. A store that fails
        says yes: a load too many is better than none."""

    async def unlock(self, key: str) -> None:
        """End the lock early."""


class MemoryStore:
    """A store in this process, for at most `entries` values; the least recently used leaves first."""

    def __init__(self, entries: int) -> None:
        self._entries = entries
        self._values: OrderedDict[str, tuple[float, bytes]] = OrderedDict()
        self._locks: dict[str, float] = {}

    async def get(self, key: str, seconds: float) -> bytes | None:
        """The value."""
        return self._find(key)

    async def get_many(self, keys: Sequence[str], seconds: float) -> dict[str, bytes]:
        """Those values that there are."""
        return {key: value for key in keys if (value := self._find(key)) is not None}

    async def set_many(self, values: Mapping[str, bytes], ttl_ms: int) -> None:
        """Keep the values for that long."""
        until = monotonic() + ttl_ms / 1000
        for key, value in values.items():
            self._values[key] = (until, value)
            self._values.move_to_end(key)
        while len(self._values) > self._entries:
            self._values.popitem(last=False)

    async def lock(self, key: str, ttl_ms: int) -> bool:
        """Whether the caller now holds the lock."""
        now = monotonic()
        if self._locks.get(key, 0) > now:
            return False
        if len(self._locks) > self._entries:
            self._locks = {held: until for held, until in self._locks.items() if until > now}
        self._locks[key] = now + ttl_ms / 1000
        return True

    async def unlock(self, key: str) -> None:
        """End the lock."""
        self._locks.pop(key, None)

    def _find(self, key: str) -> bytes | None:
        found = self._values.get(key)
        if found is None:
            return None
        if found[0] <= monotonic():
            del self._values[key]
            return None
        self._values.move_to_end(key)
        return found[1]
