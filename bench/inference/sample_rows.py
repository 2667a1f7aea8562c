"""The sample's model and rows as a comparison loads them: same file, same session settings as the service."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort


def load() -> tuple[Any, dict[str, Any]]:
    """The ONNX session, and float32 features by entity."""
    path = Path(os.environ["MODEL_PATH"])
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    with (path.parent / "features.csv").open(encoding="utf-8") as file:
        lines = list(csv.reader(file))[1:]
    return session, {row[0]: np.array([float(v) for v in row[1:]], np.float32) for row in lines}


def score(session: Any, row: Any, entity_id: str) -> dict[str, object]:
    """One row through the model."""
    label, scores = session.run(None, {"features": row[None, :]})
    return {"entity_id": entity_id, "prediction": int(label[0]), "scores": scores[0].tolist()}
