"""From an entity to its prediction: features, then the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inference.batching import Batcher
from inference.deadline import Deadline
from inference.errors import UnknownEntity
from inference.model import Model, Prediction
from inference.tracing import Tracer

Features = NDArray[np.float64]


class FeatureSource(Protocol):
    """Where features come from: float64 vectors of [width]."""

    async def get(self, entity_id: str, deadline: Deadline) -> Features | None:
        """Features of one entity, None where there are none. Raises RequestError."""

    async def get_many(self, entity_ids: Sequence[str], deadline: Deadline) -> dict[str, Features]:
        """Features of those entities that have some. Raises RequestError."""


class PredictionService:
    """What the HTTP layer calls. Raises only RequestError for what it expects to go wrong."""

    def __init__(self, model: Model, batcher: Batcher[Prediction], features: FeatureSource, tracer: Tracer) -> None:
        self.model = model
        self._batcher = batcher
        self._features = features
        self._tracer = tracer

    def check_room(self) -> None:
        """Raises Overloaded when a request that came now would be refused: to know it before its body is read."""
        self._batcher.check_room()

    async def predict(self, entity_id: str, deadline: Deadline) -> dict[str, Any]:
        """What `PredictResponse` says. Raises UnknownEntity, Overloaded, FeaturesUnavailable, …"""
        # Before the features are fetched: a request that will be refused must not load the database.
        with self._batcher.place(), self._tracer.span("features"):
            features = await self._features.get(entity_id, deadline)
        if features is None:
            raise UnknownEntity(f"entity {entity_id!r} is not in the feature store")
        with self._tracer.span("model"):
            [prediction] = await self._batcher.predict(self.model.row(features), deadline.at)
        return {
            "entity_id": entity_id,
            "prediction": prediction.value,
            "scores": prediction.scores,
            "model": self.model.version,
        }

    async def predict_many(self, entity_ids: Sequence[str], deadline: Deadline) -> dict[str, Any]:
        """What `BatchResponse` says. Raises as `predict`, but names unknown entities in its answer."""
        wanted = list(dict.fromkeys(entity_ids))
        with self._batcher.place(len(wanted)), self._tracer.span("features"):
            found = await self._features.get_many(wanted, deadline)
        known = [entity_id for entity_id in wanted if entity_id in found]
        predictions: list[Prediction] = []
        if known:
            rows = np.concatenate([self.model.row(found[entity_id]) for entity_id in known])
            with self._tracer.span("model"):
                predictions = await self._batcher.predict(rows, deadline.at)
        return {
            "predictions": [
                {"entity_id": entity_id, "prediction": prediction.value, "scores": prediction.scores}
                for entity_id, prediction in zip(known, predictions, strict=True)
            ],
            "unknown": [entity_id for entity_id in wanted if entity_id not in found],
            "model": self.model.version,
        }
