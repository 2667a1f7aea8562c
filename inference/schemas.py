"""What goes in and out over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

# PostgreSQL's text holds no NUL.
EntityId = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^\x00]+$", examples=["entity-0001"])]


class PredictRequest(BaseModel):
    """Whom to predict for."""

    model_config = ConfigDict(extra="forbid")
    entity_id: EntityId


class BatchRequest(BaseModel):
    """Whom to predict for, several at once. An entity named twice is answered once."""

    model_config = ConfigDict(extra="forbid")
    entity_ids: list[EntityId] = Field(min_length=1)


class EntityPrediction(BaseModel):
    """The model's first output for an entity, and its second (class probabilities) where it has one."""

    entity_id: str
    prediction: Any = Field(examples=[1])
    scores: list[float] | None = Field(examples=[[0.02, 0.98]])


class PredictResponse(EntityPrediction):
    """A prediction, and the version of the model that made it (the start of its file's SHA-256)."""

    model: str


class BatchResponse(BaseModel):
    """Predictions in the order asked, and the entities that have no features."""

    predictions: list[EntityPrediction]
    unknown: list[str]
    model: str


class Problem(BaseModel):
    """RFC 9457 problem details; `code` is one of the codes in docs/inference.md."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str


class Live(BaseModel):
    """The process runs."""

    status: str


class Ready(BaseModel):
    """Whether new requests are welcome, and what they are served from."""

    status: str = Field(examples=["ready", "draining"])
    model: str
    features: str = Field(examples=["postgresql", "sample"])
    cache: str = Field(examples=["redis", "memory"])
