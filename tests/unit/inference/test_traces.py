"""Traces: OpenTelemetry's own SDK and exporter, sent to a collector that is a real OTLP server."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as messages
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as services

from inference.tracing import from_environment

BODY = {"entity_id": "entity-0001"}
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


class Collector(services.TraceServiceServicer):  # type: ignore[misc]
    """Keeps the spans that it is sent."""

    def __init__(self) -> None:
        self.spans: list[Any] = []
        self.service = ""
        self._lock = threading.Lock()

    def Export(self, request: Any, context: Any) -> Any:
        with self._lock:
            for resource in request.resource_spans:
                attributes = {a.key: a.value.string_value for a in resource.resource.attributes}
                self.service = attributes["service.name"]
                self.spans += [span for scope in resource.scope_spans for span in scope.spans]
        return messages.ExportTraceServiceResponse()


@pytest.fixture
def collector() -> Iterator[tuple[Collector, str]]:
    kept = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    services.add_TraceServiceServicer_to_server(kept, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield kept, f"http://127.0.0.1:{port}"
    server.stop(None)


def test_a_request_is_a_trace_under_its_callers(serve: Callable[..., Any], collector: tuple[Collector, str]) -> None:
    kept, address = collector
    service = serve(OTEL_EXPORTER_OTLP_ENDPOINT=address, OTEL_SERVICE_NAME="scoring")
    headers = {"traceparent": f"00-{TRACE}-{SPAN}-01"}
    assert httpx.post(f"{service.url}/predict", json=BODY, headers=headers, timeout=30).status_code == 200
    httpx.get(f"{service.url}/health/live", timeout=30)
    service.process.send_signal(signal.SIGTERM)  # what is still kept is sent on the way out
    assert service.process.wait(60) == 0
    spans = {span.name: span for span in kept.spans}
    assert set(spans) == {"POST /predict", "features", "model"}, "probes are no traces"
    assert kept.service == "scoring"
    request = spans["POST /predict"]
    assert (request.trace_id.hex(), request.parent_span_id.hex()) == (TRACE, SPAN)
    for part in ("features", "model"):
        assert (spans[part].trace_id, spans[part].parent_span_id) == (request.trace_id, request.span_id)


def test_a_collector_that_is_down_stops_nothing(serve: Callable[..., Any]) -> None:
    service = serve(OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_EXPORTER_OTLP_TIMEOUT="1")
    assert httpx.post(f"{service.url}/predict", json=BODY, timeout=30).status_code == 200


def test_without_an_endpoint_or_the_libraries_there_are_none(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not from_environment({}).on
    monkeypatch.setattr("inference.tracing._EXPORTERS", ("no.such.exporter",))
    with caplog.at_level(logging.WARNING):
        assert not from_environment({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}).on
    assert "no traces" in caplog.text
