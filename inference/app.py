"""Wiring: settings in, ASGI application out."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from inference import tracing
from inference.api import router
from inference.batching import Batcher
from inference.edge import Activity, Edge
from inference.features.memory import MemoryFeatures
from inference.metrics import Metrics
from inference.model import Model
from inference.sample import find_model, read_features
from inference.schemas import Ready
from inference.service import FeatureSource, PredictionService
from inference.settings import Settings

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Application:
    """The ASGI app, and what the server has to know of it."""

    asgi: Edge
    activity: Activity
    metrics: Metrics


def make_application(settings: Settings) -> Application:
    """Load the model, choose the feature source, and put the parts together. Raises StartError.

    Nothing is connected yet: that is the lifespan's, and a database or Redis that is down does not stop it.
    """
    metrics, activity = Metrics(), Activity()
    tracer = tracing.from_environment(os.environ)
    path, trained = find_model(settings)
    model = Model(path)
    if trained:
        log.warning("no model was named: trained the sample into %s", path.parent)
    stack = AsyncExitStack()
    features, about = _features(settings, metrics, model, stack)
    batcher = Batcher(
        model.predict,
        threads=settings.worker_threads,
        queue_limit=settings.queue_limit,
        batch_limit=settings.batch_limit,
        metrics=metrics,
    )

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with stack:
            yield
        batcher.close()
        tracer.close()

    app = FastAPI(
        title="Headroom inference",
        description="Predictions of an ONNX model for entities whose features are in a feature store.",
        version=model.version,
        lifespan=lifespan,
        redoc_url=None,
    )
    service = PredictionService(model, batcher, features, tracer)
    app.include_router(router(service, settings, metrics, activity, about))
    edge = Edge(app, metrics=metrics, activity=activity, tracer=tracer, access_log=settings.access_log)
    return Application(edge, activity, metrics)


def _features(settings: Settings, metrics: Metrics, model: Model, stack: AsyncExitStack) -> tuple[FeatureSource, Ready]:
    path = settings.sample_features or model.path.with_name("features.csv")
    rows = read_features(path)
    log.warning("no DATABASE_URL: serving the features of %d sample entities from %s", len(rows), path)
    return MemoryFeatures(rows), Ready(status="ready", model=model.version, features="sample", cache="none")
