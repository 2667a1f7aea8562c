"""What most people write first: a synchronous FastAPI handler that reads features and runs the model."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

from bench.inference import sample_rows

session, rows = sample_rows.load()
app = FastAPI()


class Request(BaseModel):
    """Whom to predict for."""

    entity_id: str


@app.post("/predict")
def predict(request: Request) -> dict[str, object]:
    """One row through the model."""
    if request.entity_id not in rows:
        raise HTTPException(404)
    return sample_rows.score(session, rows[request.entity_id], request.entity_id)
