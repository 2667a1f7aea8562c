"""The HTTP API, in process."""

from __future__ import annotations

import asyncio
import csv
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager

from inference.app import Application, make_application
from inference.model import Model
from inference.settings import Settings
from inference.shards import bucket_of


class Client(httpx.AsyncClient):
    """A client of an application, which is at hand too."""

    application: Application


@pytest.fixture
async def start(sample: Path) -> AsyncIterator[Callable[..., Any]]:
    """Starts the application with the given settings; gives its client."""
    ends: list[Any] = []

    async def make(**settings: Any) -> Client:
        chosen = Settings.model_validate({"model_path": sample / "model.onnx", "deadline_ms": 20_000, **settings})
        application = make_application(chosen)
        manager = LifespanManager(application.asgi, startup_timeout=30)  # type: ignore[arg-type]
        await manager.__aenter__()
        client = Client(transport=httpx.ASGITransport(application.asgi), base_url="http://inference")  # type: ignore[arg-type]
        client.application = application
        ends.append((client, manager))
        return client

    yield make
    for client, manager in ends:
        await client.aclose()
        await manager.__aexit__(None, None, None)


@pytest.fixture(scope="session")
def entities(sample: Path) -> list[str]:
    with (sample / "features.csv").open() as file:
        return [row["entity_id"] for row in csv.DictReader(file)]


class SlowModel:
    """Holds every call of the model until it is let go; `began` says that there is one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.began, self.go = threading.Event(), threading.Event()
        real = Model.predict

        def predict(model: Model, rows: Any) -> Any:
            self.began.set()
            assert self.go.wait(30)
            return real(model, rows)

        monkeypatch.setattr(Model, "predict", predict)


async def test_a_prediction(start: Callable[..., Any]) -> None:
    client = await start()
    answer = await client.post("/predict", json={"entity_id": "entity-0000"}, headers={"X-Request-Id": "call-7"})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "call-7"
    told = answer.json()
    assert told["entity_id"] == "entity-0000"
    assert told["prediction"] == 0
    assert sum(told["scores"]) == pytest.approx(1)
    assert len(told["model"]) == 12


async def test_a_batch_equals_its_single_requests(start: Callable[..., Any], entities: list[str]) -> None:
    client = await start(queue_limit=10_000)
    answer = (await client.post("/predict/batch", json={"entity_ids": entities})).json()
    assert answer["unknown"] == []
    singles = await asyncio.gather(*(client.post("/predict", json={"entity_id": entity}) for entity in entities))
    model = {"model": answer["model"]}
    assert [single.json() for single in singles] == [{**one, **model} for one in answer["predictions"]]


async def test_a_batch_names_whom_it_does_not_know_and_answers_each_once(start: Callable[..., Any]) -> None:
    client = await start()
    wanted = ["entity-0003", "nobody", "entity-0001", "entity-0003"]
    answer = (await client.post("/predict/batch", json={"entity_ids": wanted})).json()
    assert [one["entity_id"] for one in answer["predictions"]] == ["entity-0003", "entity-0001"]
    assert answer["unknown"] == ["nobody"]
    nobody = (await client.post("/predict/batch", json={"entity_ids": ["nobody"]})).json()
    assert nobody["predictions"] == []


@pytest.mark.parametrize(
    ("path", "body", "headers", "status", "code"),
    [
        ("/predict", b'{"entity_id": "nobody"}', {}, 404, "unknown_entity"),
        ("/predict", b"not json", {}, 422, "bad_request"),
        ("/predict", b"{}", {}, 422, "bad_request"),
        ("/predict", b'{"entity_id": ""}', {}, 422, "bad_request"),
        ("/predict", b'{"entity_id": "a\\u0000b"}', {}, 422, "bad_request"),
        ("/predict", b'{"entity_id": "\\ud800"}', {}, 422, "bad_request"),
        ("/predict", b'{"entity_id": "x", "more": 1}', {}, 422, "bad_request"),
        ("/predict", b'{"entity_id": 5}', {}, 422, "bad_request"),
        ("/predict", b'{"entity_id": "' + b"x" * 5000 + b'"}', {}, 413, "body_too_large"),
        ("/predict", b'{"entity_id": "entity-0000"}', {"X-Deadline-Ms": "soon"}, 422, "bad_request"),
        ("/predict", b'{"entity_id": "entity-0000"}', {"X-Deadline-Ms": "0"}, 422, "bad_request"),
        ("/predict/batch", b'{"entity_ids": []}', {}, 422, "bad_request"),
        ("/predict/batch", b'{"entity_ids": ["a", "b", "c", "d"]}', {}, 422, "bad_request"),
    ],
)
async def test_bad_requests_get_problems(
    start: Callable[..., Any], path: str, body: bytes, headers: dict[str, str], status: int, code: str
) -> None:
    client = await start(body_limit_bytes=4096, entities_limit=3)
    answer = await client.post(path, content=body, headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == code
    assert problem["status"] == status
    assert problem["request_id"] == answer.headers["x-request-id"]


async def test_a_body_without_an_announced_length_is_bounded_too(start: Callable[..., Any]) -> None:
    client = await start(body_limit_bytes=4096)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1024

    assert (await client.post("/predict", content=endless())).status_code == 413


async def test_a_full_queue_answers_503_and_probes_go_on(
    start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    slow = SlowModel(monkeypatch)
    monkeypatch.setattr("inference.edge.REFUSALS_EVERY_S", 600)
    client = await start(worker_threads=1, queue_limit=5, batch_limit=1)

    def ask() -> asyncio.Task[httpx.Response]:
        return asyncio.create_task(client.post("/predict", json={"entity_id": "entity-0000"}))

    first = ask()
    async with asyncio.timeout(20):
        await asyncio.to_thread(slow.began.wait)
    asked = [ask() for _ in range(15)]
    async with asyncio.timeout(20):
        while sum(task.done() for task in asked) < 10:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert sum(task.done() for task in asked) == 10
    scraped = (await client.get("/metrics")).text
    assert "request_queue_depth 5.0" in scraped
    assert (await client.get("/health/live")).status_code == 200
    assert (await client.get("/health/ready")).status_code == 200
    sent = []

    async def body() -> AsyncIterator[bytes]:
        sent.append("asked for")
        yield b'{"entity_id": "entity-0000"}'

    assert (await client.post("/predict", content=body())).status_code == 503
    assert not sent, "whoever will be refused is told before the body is read"
    assert [record.status for record in caplog.records if record.name == "inference.access"] == [503]  # type: ignore[attr-defined]
    slow.go.set()
    answers = await asyncio.gather(first, *asked)
    assert sorted(answer.status_code for answer in answers) == [200] * 6 + [503] * 10
    refused = [answer for answer in answers if answer.status_code == 503]
    assert {answer.headers["retry-after"] for answer in refused} == {"1"}
    assert {answer.json()["code"] for answer in refused} == {"overloaded"}
    scraped = (await client.get("/metrics")).text
    assert "request_queue_depth 0.0" in scraped
    assert 'http_requests_total{method="POST",path="/predict",status="200"} 6.0' in scraped
    assert 'http_requests_total{method="POST",path="/predict",status="503"} 11.0' in scraped
    assert 'http_request_duration_seconds_count{method="POST",path="/predict"} 17.0' in scraped


async def test_the_deadline_of_a_request_holds(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowModel(monkeypatch)
    client = await start(worker_threads=1, deadline_ms=20_000)
    answer = await client.post("/predict", json={"entity_id": "entity-0000"}, headers={"X-Deadline-Ms": "50"})
    assert answer.status_code == 504
    assert answer.json()["code"] == "deadline_exceeded"
    slow.go.set()
    assert (await client.post("/predict", json={"entity_id": "entity-0000"})).status_code == 200


async def test_unknown_paths_make_one_series(start: Callable[..., Any]) -> None:
    client = await start()
    for number in range(20):
        assert (await client.get(f"/path-{number}")).status_code == 404
    assert (await client.get("/predict")).status_code == 405
    scraped = (await client.get("/metrics")).text
    assert 'http_requests_total{method="GET",path="other",status="404"} 20.0' in scraped
    assert "path-1" not in scraped


async def test_a_request_id_that_is_not_sane_is_replaced(start: Callable[..., Any]) -> None:
    client = await start()
    for given in ("a b", "x" * 200, '"}{'):
        assert (await client.get("/health/live", headers={"X-Request-Id": given})).headers["x-request-id"] != given


async def test_readiness_turns_at_once_while_work_is_still_answered(start: Callable[..., Any]) -> None:
    client = await start()
    ready = (await client.get("/health/ready")).json()
    assert ready == {"status": "ready", "model": ready["model"], "features": "sample", "cache": "none"}
    client.application.activity.draining = True
    answer = await client.get("/health/ready")
    assert (answer.status_code, answer.json()["status"]) == (503, "draining")
    assert (await client.get("/health/live")).status_code == 200
    predicted = await client.post("/predict", json={"entity_id": "entity-0000"})
    assert predicted.status_code == 200
    assert predicted.headers["connection"] == "close"


async def test_openapi_says_what_the_api_does(start: Callable[..., Any]) -> None:
    told = (await (await start()).get("/openapi.json")).json()
    assert set(told["paths"]) == {"/predict", "/predict/batch", "/health/live", "/health/ready", "/metrics"}
    predict = told["paths"]["/predict"]["post"]
    assert predict["requestBody"]["content"]["application/json"]["schema"]["required"] == ["entity_id"]
    assert predict["parameters"][0]["name"] == "X-Deadline-Ms"
    assert {"200", "404", "422", "503", "504"} <= set(predict["responses"])


async def test_features_from_the_database_through_the_cache(
    start: Callable[..., Any], postgres: Any, redis_server: Any, sample: Path
) -> None:
    with (sample / "features.csv").open() as file:
        rows = [(row[0], [float(value) for value in row[1:]]) for row in list(csv.reader(file))[1:6]]
    names = [name for name, _ in rows]
    postgres.own([*names, "nobody"])
    for name, features in rows:
        statement = f"INSERT INTO b{bucket_of(name):03d}.features (entity_id, features) VALUES (%s, %s)"  # noqa: S608
        postgres.run(statement, (name, features))
    alone = await start()
    expected = (await alone.post("/predict/batch", json={"entity_ids": names})).json()
    redis = {"redis_url": f"redis://127.0.0.1:{redis_server.port}/1", "redis_timeout_ms": 2000}
    for cache in ({}, redis):
        client = await start(database_url=postgres.address(), deadline_ms=10_000, **cache)
        for _ in range(2):
            for name, one in zip(names, expected["predictions"], strict=True):
                answer = await client.post("/predict", json={"entity_id": name})
                assert answer.json() == {**one, "model": expected["model"]}
            assert (await client.post("/predict/batch", json={"entity_ids": names})).json() == expected
        assert (await client.post("/predict", json={"entity_id": "nobody"})).status_code == 404
        scraped = (await client.get("/metrics")).text
        assert 'feature_cache_requests_total{result="miss"} 6.0' in scraped
        assert 'feature_cache_requests_total{result="hit"} 15.0' in scraped
        assert 'feature_loads_total{outcome="found"} 5.0' in scraped


async def test_what_is_cached_outlives_the_database(
    start: Callable[..., Any], postgres: Any, proxy: Callable[..., Any], sample: Path
) -> None:
    with (sample / "features.csv").open() as file:
        name, *values = list(csv.reader(file))[1]
    postgres.own([name, "other"])
    statement = f"INSERT INTO b{bucket_of(name):03d}.features (entity_id, features) VALUES (%s, %s)"  # noqa: S608
    postgres.run(statement, (name, [float(value) for value in values]))
    async with proxy(postgres.port) as between:
        client = await start(database_url=postgres.address(port=between.port), deadline_ms=2000)
        assert (await client.post("/predict", json={"entity_id": name})).status_code == 200
        between.accepting = False
        for writer in list(between.open):
            writer.transport.abort()
        assert (await client.post("/predict", json={"entity_id": name})).status_code == 200
        gone = await client.post("/predict", json={"entity_id": "other"}, headers={"X-Deadline-Ms": "800"})
        assert gone.status_code in (503, 504)
        assert gone.json()["code"] in ("features_unavailable", "deadline_exceeded")
        assert (await client.get("/health/ready")).status_code == 200
        between.accepting = True
        assert (await client.post("/predict", json={"entity_id": "other"})).status_code == 404


async def test_features_of_another_width_are_the_models_refusal(start: Callable[..., Any], tmp_path: Path) -> None:
    features = tmp_path / "features.csv"
    features.write_text("entity_id,a,b\nx,1,2\n")
    answer = await (await start(sample_features=features)).post("/predict", json={"entity_id": "x"})
    assert (answer.status_code, answer.json()["code"]) == (500, "model_failed")
    assert "30 features" in answer.json()["detail"]
