"""What most people write first: a synchronous FastAPI handler that reads features and runs the model.

Same model, same rows, same ONNX Runtime settings as the service that it is compared with.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

folder = Path(os.environ["MODEL_PATH"]).parent
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(os.environ["MODEL_PATH"], options, providers=["CPUExecutionProvider"])
with (folder / "features.csv").open(encoding="utf-8") as file:
    rows = {row[0]: np.array([float(v) for v in row[1:]], np.float32) for row in list(csv.reader(file))[1:]}
app = FastAPI()


class Request(BaseModel):
    """Whom to predict for."""

    entity_id: str


@app.post("/predict")
def predict(request: Request) -> dict[str, object]:
    """One row through the model."""
    if request.entity_id not in rows:
        raise HTTPException(404)
    label, scores = session.run(None, {"features": rows[request.entity_id][None, :]})
    return {"entity_id": request.entity_id, "prediction": int(label[0]), "scores": scores[0].tolist()}
