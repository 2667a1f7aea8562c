"""The metrics that the service emits, one registry an app."""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

LATENCY_BUCKETS_S = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
ROW_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counters are named by the conventions of Prometheus: base units, `_total` for what only grows."""

    def __init__(self) -> None:
        # A creation time for every series doubles the scrape, and nobody reads them.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter(
            "http_requests_total", "Requests answered.", ("method", "path", "status"), registry=registry
        )
        self.duration = Histogram(
            "http_request_duration_seconds",
            "From a request's first byte in the application to its last byte out.",
            ("method", "path"),
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.in_flight = Gauge("http_requests_in_flight", "Requests being answered.", registry=registry)
        self.queue_depth = Gauge("request_queue_depth", "Requests that wait for a model thread.", registry=registry)
        self.queue_limit = Gauge(
            "request_queue_limit", "Requests that may wait; the next one gets 503.", registry=registry
        )
        self.busy_threads = Gauge("model_threads_busy", "Threads that run the model now.", registry=registry)
        self.batch_rows = Histogram(
            "model_batch_rows", "Rows scored in one call of the model.", buckets=ROW_BUCKETS, registry=registry
        )
        self.model_seconds = Histogram(
            "model_duration_seconds",
            "One call of the model, by the clock.",
            buckets=LATENCY_BUCKETS_S,
            registry=registry,
        )
        self.cache = Counter(
            "feature_cache_requests_total",
            "Feature reads by what the cache did: hit, miss, refresh (a hit that refreshes early), error.",
            ("result",),
            registry=registry,
        )
        self.loads = Counter(
            "feature_loads_total",
            "Loads from the feature store by outcome: found, unknown, failed.",
            ("outcome",),
            registry=registry,
        )
        self.retries = Counter(
            "shard_retries_total", "Attempts repeated, by shard and reason.", ("shard", "reason"), registry=registry
        )
        self.map_version = Gauge("shard_map_version", "Version of the bucket map in use.", registry=registry)
