"""The real process: under load, overloaded, and on its way out."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

BODY = {"entity_id": "entity-0001"}


async def test_sigterm_under_load_fails_no_request(serve: Callable[..., Any]) -> None:
    """Clients keep their connections, and stop coming once readiness says no, as behind a Kubernetes Service."""
    service = serve(DRAIN_QUIET_S=1, DEADLINE_MS=20_000)
    endpoint_up = asyncio.Event()
    endpoint_up.set()
    statuses: Counter[int] = Counter()

    async def client(http: httpx.AsyncClient) -> None:
        while endpoint_up.is_set():
            statuses[(await http.post("/predict", json=BODY)).status_code] += 1

    async with httpx.AsyncClient(base_url=service.url, timeout=30) as http:
        clients = [asyncio.create_task(client(http)) for _ in range(16)]
        while statuses.total() < 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        service.process.send_signal(signal.SIGTERM)
        sent = time.monotonic()
        while (await http.get("/health/ready")).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        turned = time.monotonic()
        while_draining = statuses.total()
        await asyncio.sleep(0.5)  # endpoints take their time to notice
        endpoint_up.clear()
        await asyncio.gather(*clients)
    assert set(statuses) == {200}
    assert statuses.total() > while_draining
    assert turned - sent < 5
    assert await asyncio.to_thread(service.process.wait, 30) == 0


async def test_a_second_signal_ends_it_at_once(serve: Callable[..., Any]) -> None:
    service = serve(DRAIN_QUIET_S=600, DRAIN_S=600)
    service.process.send_signal(signal.SIGTERM)
    async with httpx.AsyncClient(base_url=service.url) as http:
        while (await http.get("/health/ready")).status_code == 200:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    service.process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(service.process.wait, 30)


async def test_three_times_its_capacity(serve: Callable[..., Any]) -> None:
    """One thread and a queue of 10 against 33 who always ask: what is taken completes, the rest is told to return."""
    service = serve(WORKER_THREADS=1, QUEUE_LIMIT=10, BATCH_LIMIT=1, DEADLINE_MS=20_000)
    answers: list[tuple[int, str | None]] = []
    entities = [f"entity-{number:04d}" for number in range(500)]

    async def client() -> None:
        async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
            for _ in range(15):
                # Enough rows a request that the model, not the client, is the bottleneck.
                answer = await http.post("/predict/batch", json={"entity_ids": entities[:10]})
                answers.append((answer.status_code, answer.headers.get("retry-after")))

    async with asyncio.timeout(120):
        await asyncio.gather(*(client() for _ in range(33)))
    assert len(answers) == 33 * 15
    assert set(answers) == {(200, None), (503, "1")}
    async with httpx.AsyncClient(base_url=service.url) as http:
        scraped = (await http.get("/metrics")).text
        assert "request_queue_depth 0.0" in scraped
        assert "http_requests_in_flight 0.0" in scraped
        assert (await http.post("/predict", json=BODY)).status_code == 200


async def test_probes_answer_while_everything_is_busy(serve: Callable[..., Any]) -> None:
    service = serve(QUEUE_LIMIT=10_000, DEADLINE_MS=30_000, ENTITIES_LIMIT=100_000)
    many = {"entity_ids": [f"entity-{number:04d}" for number in range(569)]}
    async with httpx.AsyncClient(base_url=service.url, timeout=60) as http:
        busy = [asyncio.create_task(http.post("/predict/batch", json=many)) for _ in range(64)]
        probes = [await http.get(path) for path in ("/health/live", "/health/ready", "/metrics") * 10]
        assert {probe.status_code for probe in probes} == {200}
        assert {answer.status_code for answer in await asyncio.gather(*busy)} == {200}


def test_logs_are_json_with_the_requests_id(serve: Callable[..., Any]) -> None:
    service = serve(ACCESS_LOG="all")
    httpx.post(f"{service.url}/predict", json=BODY, headers={"X-Request-Id": "call-9"})
    until = time.monotonic() + 30
    while "call-9" not in service.log.read_text():  # the answer is sent first
        assert time.monotonic() < until
        time.sleep(0.05)
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    [line] = [line for line in lines if line.get("request_id") == "call-9"]
    assert (line["method"], line["path"], line["status"], line["level"]) == ("POST", "/predict", 200, "info")
    assert line["duration_ms"] > 0
    # Alone, it says what it serves.
    assert any("no DATABASE_URL" in line["message"] for line in lines)


def test_a_taken_port_is_told_in_a_line(serve: Callable[..., Any]) -> None:
    service = serve()
    with pytest.raises(AssertionError, match="address already in use"):
        serve(PORT=service.url.rpartition(":")[2])


def test_a_database_that_is_down_at_start_does_not_stop_it(serve: Callable[..., Any]) -> None:
    service = serve(DATABASE_URL="postgresql://app:hunter2@127.0.0.1:1/features", DEADLINE_MS=400)
    started = time.monotonic()
    answer = httpx.post(f"{service.url}/predict", json=BODY)
    assert answer.status_code in (503, 504)
    assert time.monotonic() - started < 5
    assert "hunter2" not in service.log.read_text() + answer.text


def test_the_sample_is_trained_where_there_is_no_model(serve: Callable[..., Any], tmp_path: Path) -> None:
    service = serve(MODEL_PATH=tmp_path / "fresh" / "model.onnx")
    assert httpx.post(f"{service.url}/predict", json=BODY).status_code == 200
    assert "trained the sample" in service.log.read_text()
