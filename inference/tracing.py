"""Traces, where OpenTelemetry is installed and told where to send them; nothing at all elsewhere.

Install `opentelemetry-sdk` and `opentelemetry-exporter-otlp`, and set OTEL_EXPORTER_OTLP_ENDPOINT (or
OTEL_EXPORTER_OTLP_TRACES_ENDPOINT). The rest are OpenTelemetry's own OTEL_* variables.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Any

log = logging.getLogger(__name__)
_NOTHING: AbstractContextManager[None] = nullcontext()
_EXPORTERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
)


class Tracer:
    """Opens spans. Without a provider it opens none, and costs nothing worth measuring."""

    def __init__(self, provider: Any = None) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("inference") if provider else None

    @property
    def on(self) -> bool:
        """Whether spans go anywhere."""
        return self._tracer is not None

    def span(self, name: str) -> AbstractContextManager[None]:
        """A span inside the current one."""
        return _NOTHING if self._tracer is None else self._span(name)

    @contextmanager
    def request(self, name: str, headers: Mapping[str, str]) -> Iterator[None]:
        """The server span of a request, under the caller's (W3C `traceparent`) where it sends one."""
        assert self._tracer is not None  # noqa: S101 - the caller asked `on`
        parent = import_module("opentelemetry.propagate").extract(headers)
        kind = import_module("opentelemetry.trace").SpanKind.SERVER
        with self._tracer.start_as_current_span(name, context=parent, kind=kind):
            yield

    def close(self) -> None:
        """Send what is still kept."""
        if self._provider is not None:
            self._provider.shutdown()

    @contextmanager
    def _span(self, name: str) -> Iterator[None]:
        with self._tracer.start_as_current_span(name):  # type: ignore[union-attr]
            yield


def from_environment(environment: Mapping[str, str]) -> Tracer:
    """The tracer that the environment asks for. Never fails: a service without traces is better than none."""
    if not any(environment.get(f"OTEL_EXPORTER_OTLP_{kind}ENDPOINT") for kind in ("", "TRACES_")):
        return Tracer()
    exporter = next(filter(None, map(_import, _EXPORTERS)), None)
    sdk = _import("opentelemetry.sdk.trace")
    if exporter is None or sdk is None:
        log.warning("an OTLP endpoint is set, but opentelemetry-sdk and its OTLP exporter are not installed: no traces")
        return Tracer()
    resource = import_module("opentelemetry.sdk.resources").Resource.create(
        {"service.name": environment.get("OTEL_SERVICE_NAME") or "inference"}
    )
    provider = sdk.TracerProvider(resource=resource)
    batches = import_module("opentelemetry.sdk.trace.export").BatchSpanProcessor
    provider.add_span_processor(batches(exporter.OTLPSpanExporter()))
    return Tracer(provider)


def _import(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        return None
