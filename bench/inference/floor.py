"""The service without a model: the same server, routes, parsing and metrics, and an answer that is always the same."""

from __future__ import annotations

import sys
from typing import Any

from inference.__main__ import main
from inference.deadline import Deadline
from inference.service import PredictionService


async def same_answer(service: PredictionService, entity_id: str, deadline: Deadline) -> dict[str, Any]:
    """What a prediction looks like."""
    return {"entity_id": entity_id, "prediction": 1, "scores": [0.02, 0.98], "model": service.model.version}


if __name__ == "__main__":
    PredictionService.predict = same_answer  # type: ignore[method-assign,assignment]
    sys.exit(main())
