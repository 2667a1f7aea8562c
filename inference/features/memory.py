"""Features held in memory: the sample's, for a first look without a database."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from inference.deadline import Deadline


class MemoryFeatures:
    """A FeatureSource over a mapping."""

    def __init__(self, rows: Mapping[str, NDArray[np.float64]]) -> None:
        self._rows = rows

    async def get(self, entity_id: str, deadline: Deadline) -> NDArray[np.float64] | None:
        """Features of one entity, None where there are none."""
        return self._rows.get(entity_id)

    async def get_many(self, entity_ids: Sequence[str], deadline: Deadline) -> dict[str, NDArray[np.float64]]:
        """Features of those entities that have some."""
        return {entity_id: self._rows[entity_id] for entity_id in entity_ids if entity_id in self._rows}
