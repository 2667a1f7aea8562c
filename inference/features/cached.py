"""Features behind the cache: float64 vectors as their bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from inference.cache.early_expiry import CacheRules, EarlyExpiryCache
from inference.cache.stores import Store
from inference.deadline import Deadline
from inference.service import Features, FeatureSource

_FLOAT64 = np.dtype("<f8")


class CachedFeatures:
    """A FeatureSource in front of another."""

    def __init__(self, source: FeatureSource, store: Store, rules: CacheRules, **options: Any) -> None:
        """`options` are those of EarlyExpiryCache."""
        self._source = source
        self._cache = EarlyExpiryCache(store, self._load, rules, **options)

    async def get(self, entity_id: str, deadline: Deadline) -> Features | None:
        """Features of one entity, None where there are none. Raises what the source raises, or Overloaded."""
        value = await self._cache.get(entity_id, deadline)
        return None if value is None else np.frombuffer(value, _FLOAT64)

    async def get_many(self, entity_ids: Sequence[str], deadline: Deadline) -> dict[str, Features]:
        """Features of those entities that have some. Raises as `get`."""
        values = await self._cache.get_many(entity_ids, deadline)
        return {entity_id: np.frombuffer(value, _FLOAT64) for entity_id, value in values.items()}

    async def close(self) -> None:
        """End the loads that nobody waits for any more."""
        await self._cache.close()

    async def _load(self, keys: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        found = await self._source.get_many(keys, deadline)
        return {key: features.astype(_FLOAT64, copy=False).tobytes() for key, features in found.items()}
