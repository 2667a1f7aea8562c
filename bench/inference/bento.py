"""The same model served by BentoML: one worker, its own synchronous API."""

from __future__ import annotations

from typing import Any

import bentoml  # type: ignore[import-not-found]

from bench.inference import sample_rows


@bentoml.service(workers=1, traffic={"timeout": 60}, metrics={"enabled": False})
class Sample:
    """One entity's features through the model."""

    def __init__(self) -> None:
        self.session, self.rows = sample_rows.load()

    @bentoml.api  # type: ignore[untyped-decorator]
    def predict(self, entity_id: str) -> dict[str, Any]:
        """What a prediction looks like."""
        return sample_rows.score(self.session, self.rows[entity_id], entity_id)
