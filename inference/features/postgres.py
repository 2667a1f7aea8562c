"""Features in sharded PostgreSQL, a schema a bucket.

The table: `bNNN.features(entity_id text primary key, features double precision[] not null, updated_at timestamptz)`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import psycopg

from inference.deadline import Deadline
from inference.errors import FeaturesUnavailable
from inference.metrics import Metrics
from inference.service import Features
from inference.shards import ShardError, Shards

SELECT = "SELECT entity_id, features FROM {schema}.features WHERE entity_id = ANY(%s)"


class PostgresFeatures:
    """A FeatureSource over the shards."""

    def __init__(self, shards: Shards, metrics: Metrics) -> None:
        self._shards = shards
        self._metrics = metrics

    async def get(self, entity_id: str, deadline: Deadline) -> Features | None:
        """Features of one entity, None where there are none. Raises FeaturesUnavailable."""
        return (await self.get_many([entity_id], deadline)).get(entity_id)

    async def get_many(self, entity_ids: Sequence[str], deadline: Deadline) -> dict[str, Features]:
        """Features of those entities that have some. Raises FeaturesUnavailable."""
        loads = self._metrics.loads
        try:
            rows = await self._shards.read(entity_ids, SELECT, deadline)
        except (ShardError, psycopg.Error) as error:
            loads.labels("failed").inc(len(entity_ids))
            raise FeaturesUnavailable(str(error).splitlines()[0]) from error
        self._metrics.map_version.set(self._shards.map.version)
        loads.labels("found").inc(len(rows))
        loads.labels("unknown").inc(len(entity_ids) - len(rows))
        return {row[0]: np.array(row[1], dtype=np.float64) for row in rows}
