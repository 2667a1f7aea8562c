"""Which shard owns which bucket: a file to begin with, and from the first refusal on what the shards themselves say.

The file is JSON: `{"version": 3, "shards": 4, "buckets": [0, 0, …]}` with one shard number a bucket, 256 of them. It is
what the stack planned, and changes at the pace of a mounted ConfigMap. The shards' own map changes with every bucket
that moves; a client asks for it when a shard refuses a bucket, and from then on the file says nothing new.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Protocol

from inference.shards.buckets import BUCKETS

log = logging.getLogger(__name__)


class MapInvalid(ValueError):
    """A map that cannot be used, with the reason."""


@dataclass(frozen=True, slots=True)
class BucketMap:
    """`owners[bucket]` is the number of a shard, below `shards`. A higher version replaces a lower one."""

    version: int
    shards: int
    owners: tuple[int, ...]

    @classmethod
    def of(cls, version: int, owners: Sequence[int]) -> BucketMap:
        """From a shard's own map. Raises MapInvalid."""
        held = {"version": version, "shards": max(owners, default=0) + 1, "buckets": list(owners)}
        return cls.parse(json.dumps(held))

    @classmethod
    def parse(cls, text: str | bytes) -> BucketMap:
        """From the file's JSON. Raises MapInvalid."""
        try:
            given = json.loads(text)
            version, shards, owners = given["version"], given["shards"], given["buckets"]
        except (ValueError, KeyError, TypeError) as error:
            raise MapInvalid(f"not a bucket map: {type(error).__name__} {error}") from None
        numbers = [version, shards, *owners] if isinstance(owners, list) else [None]
        if any(type(number) is not int or number < 0 for number in numbers) or shards < 1:
            raise MapInvalid("version, shards and every bucket must be whole numbers that are not negative")
        if len(owners) != BUCKETS:
            raise MapInvalid(f"{len(owners)} buckets instead of {BUCKETS}")
        if stray := [bucket for bucket, owner in enumerate(owners) if owner >= shards]:
            raise MapInvalid(f"bucket {stray[0]} belongs to shard {owners[stray[0]]}, and there are {shards} shards")
        return cls(version, shards, tuple(owners))


class Buckets(Protocol):
    """A source of the current map."""

    def current(self) -> BucketMap:
        """The newest map that is known."""

    def refresh(self) -> BucketMap:
        """The same, looked up at once: a shard said that a bucket moved."""

    def learn(self, found: BucketMap) -> None:
        """A shard told its map."""


class FixedMap:
    """A map that never changes; by default one shard that owns everything."""

    def __init__(self, fixed: BucketMap | None = None) -> None:
        self._map = fixed or BucketMap(0, 1, (0,) * BUCKETS)

    def current(self) -> BucketMap:
        """The map."""
        return self._map

    def refresh(self) -> BucketMap:
        """The map."""
        return self._map

    def learn(self, found: BucketMap) -> None:
        """Nothing: it is fixed."""


class KnownMap:
    """A map to begin with; it follows what the shards tell."""

    def __init__(self, first: BucketMap) -> None:
        self._first = first
        self._told: BucketMap | None = None

    def current(self) -> BucketMap:
        """The newest map that is known."""
        return self._told or self._first

    def refresh(self) -> BucketMap:
        """The same: only a shard knows better."""
        return self.current()

    def learn(self, found: BucketMap) -> None:
        """Take a map that is newer than what the shards told before. Versions of the first one are not the shards'."""
        if self._told is None or found.version > self._told.version:
            log.info("bucket map version %d of the shards, %d shards", found.version, found.shards)
            self._told = found


class MapFile:
    """A map in a file, such as a mounted ConfigMap, whose updates swap a symlink.

    A file that vanished, is broken or is older than what is known changes nothing: a wrong map is worse than an old
    one, which the shards themselves refuse. Once the shards have told theirs, the file is not looked at any more.
    """

    LOOK_EVERY_S = 1.0

    def __init__(self, path: Path) -> None:
        """Raises OSError or MapInvalid when there is nothing to begin with."""
        self._path = path
        self._stamp = self._stat()
        self._map = BucketMap.parse(path.read_bytes())
        self._told = KnownMap(self._map)
        self._learned = False
        self._looked = monotonic()

    def current(self) -> BucketMap:
        """The newest map; the file's stamp is looked at once a second at most."""
        if self._learned:
            return self._told.current()
        if monotonic() - self._looked >= self.LOOK_EVERY_S:
            self.refresh()
        return self._map

    def learn(self, found: BucketMap) -> None:
        """A shard told its map."""
        self._learned = True
        self._told.learn(found)

    def refresh(self) -> BucketMap:
        """Look at the file now, unless the shards are asked instead."""
        if self._learned:
            return self._told.current()
        self._looked = monotonic()
        try:
            stamp = self._stat()
            if stamp == self._stamp:
                return self._map
            found = BucketMap.parse(self._path.read_bytes())
        except (OSError, MapInvalid) as error:
            log.warning("keeping bucket map version %d, %s cannot be read: %s", self._map.version, self._path, error)
            return self._map
        self._stamp = stamp
        if found.version < self._map.version:
            log.warning("ignoring bucket map version %d: version %d is known", found.version, self._map.version)
        elif found != self._map:
            log.info("bucket map version %d, %d shards", found.version, found.shards)
            self._map = found
        return self._map

    def _stat(self) -> tuple[int, int, int]:
        found = self._path.stat()
        return (found.st_ino, found.st_mtime_ns, found.st_size)
