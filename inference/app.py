"""Wiring: settings in, ASGI application out."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import psycopg
from fastapi import FastAPI

from inference import tracing
from inference.api import direct, router
from inference.batching import Batcher
from inference.cache.early_expiry import CacheRules
from inference.cache.redis_store import RedisStore
from inference.cache.stores import MemoryStore, Store
from inference.edge import Activity, Edge
from inference.errors import StartError
from inference.features.cached import CachedFeatures
from inference.features.memory import MemoryFeatures
from inference.features.postgres import PostgresFeatures
from inference.metrics import Metrics
from inference.model import Model
from inference.redis_client import connect
from inference.sample import find_model, read_features
from inference.schemas import Ready
from inference.service import FeatureSource, PredictionService
from inference.settings import Settings
from inference.shards import FixedMap, MapFile, MapInvalid, Shards

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
    routes = router(service, settings, metrics, activity, about)
    app.include_router(routes)
    edge = Edge(
        app, metrics=metrics, activity=activity, tracer=tracer, access_log=settings.access_log, direct=direct(routes)
    )
    return Application(edge, activity, metrics)


def _features(settings: Settings, metrics: Metrics, model: Model, stack: AsyncExitStack) -> tuple[FeatureSource, Ready]:
    """The feature source that the settings ask for, its closing put on `stack`, and what readiness tells of it."""
    source: FeatureSource
    kind, cache = "postgresql", "memory"
    if settings.database_url is None:
        kind, cache = "sample", "none"
        path = settings.sample_features or model.path.with_name("features.csv")
        rows = read_features(path)
        log.warning("no DATABASE_URL: serving the features of %d sample entities from %s", len(rows), path)
        source = MemoryFeatures(rows)
    else:
        source = _database(settings, metrics, stack)
    if settings.redis_url is not None:
        cache = "redis"
        redis = RedisStore(
            connect(settings),
            timeout_s=settings.redis_timeout_ms / 1000,
            connections=settings.redis_connections,
            on_error=metrics.cache.labels("error").inc,
        )
        stack.push_async_callback(redis.close)
        store: Store = redis
    else:
        store = MemoryStore(settings.cache_entries)
    if cache != "none":
        rules = CacheRules(
            ttl_s=settings.cache_ttl_s,
            early_fraction=settings.cache_early_fraction,
            load_timeout_s=settings.deadline_ms / 1000,
            loads_limit=max(settings.queue_limit, settings.entities_limit),
        )
        results = {result: metrics.cache.labels(result) for result in ("hit", "refresh", "miss")}
        cached = CachedFeatures(source, store, rules, count=lambda result: results[result].inc())
        stack.push_async_callback(cached.close)
        source = cached
    return source, Ready(status="ready", model=model.version, features=kind, cache=cache)


def _database(settings: Settings, metrics: Metrics, stack: AsyncExitStack) -> FeatureSource:
    assert settings.database_url is not None  # noqa: S101 - the caller asked
    try:
        buckets = MapFile(settings.shard_map) if settings.shard_map else FixedMap()
    except (OSError, MapInvalid) as error:
        raise StartError(
            f"SHARD_MAP={str(settings.shard_map)!r} cannot be used: {error}",
            fix="mount the bucket map there, or unset SHARD_MAP where there is a single shard",
            exit_code=2,
        ) from None
    try:
        shards = Shards(
            settings.database_url.get_secret_value(),
            buckets=buckets,
            connections=settings.database_connections,
            on_retry=lambda shard, reason: metrics.retries.labels(str(shard), reason).inc(),
        )
    except psycopg.Error:  # its message quotes the address, which may hold the password
        raise StartError(
            "DATABASE_URL is not an address that PostgreSQL's client understands",
            fix="write postgresql://user@pgbouncer:6432/features, with special characters percent-encoded",
            exit_code=2,
        ) from None
    stack.push_async_exit(shards)
    return PostgresFeatures(shards, metrics)
