"""The model's thread pool and the queue before it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from inference.batching import Batcher, usable_cores
from inference.deadline import Deadline
from inference.errors import DeadlineExceeded, ModelFailed, Overloaded
from inference.metrics import Metrics
from inference.model import Model
from inference.service import PredictionService
from inference.tracing import Tracer


class Gate:
    """A model that works only while it is open, and remembers its batches. Its answer is the row's first feature."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.batches: list[int] = []
        self.busy = self.most_busy = 0
        self._lock = threading.Lock()

    def __call__(self, rows: Any) -> list[float]:
        with self._lock:
            opened = self.open
            self.batches.append(len(rows))
            self.busy += 1
            self.most_busy = max(self.most_busy, self.busy)
        assert opened.wait(30)
        with self._lock:
            self.busy -= 1
        if (rows == -1).any():
            raise ModelFailed("negative")
        return [float(row[0]) for row in rows]


@pytest.fixture
def gate() -> Iterator[Gate]:
    made = Gate()
    yield made
    made.open.set()


def batcher(predict: Any, **options: Any) -> Batcher[float]:
    chosen = {"threads": 2, "queue_limit": 10, "batch_limit": 4, "metrics": Metrics(), "cores": 2, **options}
    return Batcher(predict, **chosen)


def row(value: float) -> Any:
    return np.array([[value]])


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.002)


async def test_a_lone_request_starts_in_the_same_turn(gate: Gate) -> None:
    """It waits for no company and no timer: after one more turn of the loop a thread has it."""
    made = batcher(gate)
    asked = asyncio.create_task(made.predict(row(7), time.monotonic() + 30))
    await asyncio.sleep(0)  # the task runs up to its wait
    await asyncio.sleep(0)  # the loop's next turn hands it over
    assert made._running == 1
    assert made.depth == 0
    gate.open.set()
    assert await asked == [7.0]
    assert gate.batches == [1]


async def test_requests_that_wait_anyway_are_scored_together_in_order(gate: Gate) -> None:
    made = batcher(gate, threads=1)
    asked = [asyncio.create_task(made.predict(row(0), time.monotonic() + 30))]
    await until(lambda: gate.busy == 1)
    asked += [asyncio.create_task(made.predict(row(number), time.monotonic() + 30)) for number in range(1, 10)]
    await until(lambda: made.depth == 9)
    gate.open.set()
    assert [result for [result] in await asyncio.gather(*asked)] == list(range(10))
    assert gate.batches == [1, 4, 4, 1]


async def test_a_burst_is_shared_out_over_the_cores(gate: Gate) -> None:
    gate.open.set()
    made = batcher(gate, threads=2, batch_limit=64)
    await asyncio.gather(*(made.predict(row(number), time.monotonic() + 30) for number in range(8)))
    assert sorted(gate.batches) == [4, 4]


async def test_threads_are_bounded_and_above_the_limit_is_overloaded(gate: Gate) -> None:
    metrics = Metrics()
    made = batcher(gate, threads=2, queue_limit=10, batch_limit=1, metrics=metrics)
    asked = []
    for _ in range(2):
        asked.append(asyncio.create_task(made.predict(row(1), time.monotonic() + 30)))
        await asyncio.sleep(0.01)
    await until(lambda: gate.busy == 2)
    asked += [asyncio.create_task(made.predict(row(1), time.monotonic() + 30)) for _ in range(30)]
    await until(lambda: sum(task.done() for task in asked) >= 20)
    assert metrics.registry.get_sample_value("request_queue_depth") == 10
    assert metrics.registry.get_sample_value("request_queue_limit") == 10
    assert metrics.registry.get_sample_value("model_threads_busy") == 2
    assert sum(task.done() for task in asked) == 20
    gate.open.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 20
    assert sum(answer == [1.0] for answer in answers) == 12
    assert gate.most_busy == 2
    assert metrics.registry.get_sample_value("request_queue_depth") == 0


async def test_those_who_share_a_running_batch_fill_the_queue_too(gate: Gate) -> None:
    """Else whoever comes would wait for a full batch that runs, and in a full one of its own."""
    made = batcher(gate, threads=1, queue_limit=5, batch_limit=64)

    async def ask(number: int) -> list[asyncio.Task[list[float]]]:
        tasks = [asyncio.create_task(made.predict(row(1), time.monotonic() + 30)) for _ in range(number)]
        await until(lambda: made._waiting_rows + sum(task.done() for task in tasks) >= number)
        return tasks

    first = asyncio.create_task(made.predict(row(1), time.monotonic() + 30))
    await until(lambda: gate.busy == 1)
    alone = await ask(7)
    assert sum(task.done() for task in alone) == 2  # five may wait behind one that runs
    opened, gate.open = gate.open, threading.Event()  # for the first call alone
    opened.set()
    await first
    await until(lambda: gate.batches == [1, 5] and gate.busy == 1)
    assert made.depth == 0
    shared = await ask(3)
    assert sum(task.done() for task in shared) == 2  # four share the batch that runs: one more
    gate.open.set()
    answers = await asyncio.gather(*alone, *shared, return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 4
    assert sum(answer == [1.0] for answer in answers) == 6
    assert (made._sharing, made._sharing_rows) == (0, 0)


class SlowFeatures:
    """Features that come once they are let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = 0

    async def get(self, _: str, deadline: Deadline) -> Any:
        self.asked += 1
        await self.go.wait()
        return np.zeros(30)

    async def get_many(self, entity_ids: Any, deadline: Deadline) -> Any:
        return {name: await self.get(name, deadline) for name in entity_ids}


async def test_who_still_fetches_features_has_a_place_in_the_queue(sample: Path) -> None:
    """Else any number would wait before the queue, for a cache that is slow or a loop that is busy."""
    model, features = Model(sample / "model.onnx"), SlowFeatures()
    made: Batcher[Any] = Batcher(model.predict, threads=1, queue_limit=5, batch_limit=1, metrics=Metrics(), cores=1)
    service = PredictionService(model, made, features, Tracer())
    asked = [asyncio.create_task(service.predict("x", Deadline.after(60))) for _ in range(20)]
    await until(lambda: sum(task.done() for task in asked) == 14)
    assert features.asked == 6  # one for the thread, five that may wait
    with pytest.raises(Overloaded):
        service.check_room()
    features.go.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 14
    assert sum(isinstance(answer, dict) for answer in answers) == 6
    assert made._coming == 0
    service.check_room()
    made.close()


async def test_who_fetches_many_has_as_many_places_as_the_model_gets_parts(gate: Gate) -> None:
    """While the one thread is free it takes four rows at once: of single rows six fit, of full parts three."""
    made = batcher(gate, threads=1, queue_limit=2, batch_limit=4)

    def fit(rows: int) -> int:
        with ExitStack() as stack:
            for number in range(20):
                try:
                    stack.enter_context(made.place(rows))
                except Overloaded:
                    return number
        return 20

    assert [fit(1), fit(4), fit(8), fit(17)] == [6, 3, 2, 1]
    with pytest.raises(ValueError, match="lost"), made.place(9):
        raise ValueError("lost")
    assert (made._coming, made._coming_rows) == (0, 0)


async def test_who_gives_up_leaves_the_queue_at_once(gate: Gate) -> None:
    made = batcher(gate, threads=1)
    first = asyncio.create_task(made.predict(row(1), time.monotonic() + 30))
    await until(lambda: gate.busy == 1)
    others = [asyncio.create_task(made.predict(row(2), time.monotonic() + 30)) for _ in range(10)]
    await until(lambda: made.depth == 10)
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    assert made.depth == 0
    assert made._waiting_rows == 0
    gate.open.set()
    assert await first == [1.0]
    assert gate.batches == [1]


async def test_rows_that_are_too_late_are_not_scored(gate: Gate) -> None:
    made = batcher(gate, threads=1)
    first = asyncio.create_task(made.predict(row(1), time.monotonic() + 30))
    await until(lambda: gate.busy == 1)
    late = asyncio.create_task(made.predict(row(2), time.monotonic() + 0.02))
    on_time = asyncio.create_task(made.predict(row(3), time.monotonic() + 30))
    await asyncio.sleep(0.05)
    gate.open.set()
    assert (await first, await on_time) == ([1.0], [3.0])
    with pytest.raises(DeadlineExceeded):
        await late
    assert made._waiting_rows == 0
    assert gate.batches == [1, 1]


async def test_a_row_that_the_model_refuses_fails_alone(gate: Gate) -> None:
    made = batcher(gate, threads=1)
    asked = [asyncio.create_task(made.predict(row(value), time.monotonic() + 30)) for value in (1, -1, 3)]
    await until(lambda: gate.busy == 1)
    gate.open.set()
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert answers[0] == [1.0]
    assert isinstance(answers[1], ModelFailed)
    assert answers[2] == [3.0]
    assert await made.predict(row(4), time.monotonic() + 30) == [4.0]


async def test_many_rows_go_in_parts_so_that_others_get_between(gate: Gate) -> None:
    made = batcher(gate, threads=1, batch_limit=4)
    many = asyncio.create_task(made.predict(np.arange(10.0)[:, None], time.monotonic() + 30))
    await until(lambda: gate.busy == 1)
    gate.open.set()
    assert await many == list(range(10))
    assert gate.batches == [4, 4, 2]


async def test_many_rows_fail_as_one_request_does(gate: Gate) -> None:
    made = batcher(gate, threads=1)
    blocking = asyncio.create_task(made.predict(row(0), time.monotonic() + 30))
    await until(lambda: gate.busy == 1)
    late = asyncio.create_task(made.predict(np.arange(12.0).reshape(-1, 1), time.monotonic() + 0.05))
    await asyncio.sleep(0.1)
    gate.open.set()
    with pytest.raises(DeadlineExceeded):
        await late
    with pytest.raises(ModelFailed):
        await made.predict(np.full((12, 1), -1.0), time.monotonic() + 30)
    assert await blocking == [0.0]


async def test_the_loop_goes_on_while_the_model_works(gate: Gate) -> None:
    """The model works until the loop lets it end: a loop that ran it itself would never come to that."""
    made = batcher(gate, threads=4, queue_limit=1000)
    asked = [asyncio.create_task(made.predict(row(1), time.monotonic() + 60)) for _ in range(32)]
    await until(lambda: gate.busy > 0)
    for _ in range(100):
        await asyncio.sleep(0.001)
    assert not any(task.done() for task in asked)
    gate.open.set()
    assert await asyncio.gather(*asked) == [[1.0]] * 32


async def test_the_real_model_takes_no_time_of_the_loop(sample: Path) -> None:
    """CPU time of the loop's own thread between two heartbeats: what the machine does beside it does not count."""
    model = Model(sample / "model.onnx")
    rows = np.zeros((100_000, model.width or 0), np.float32)
    began = time.thread_time()
    model.predict(rows)
    alone_s = time.thread_time() - began
    assert alone_s > 0.1  # so it would show, were it here
    made: Batcher[Any] = Batcher(
        model.predict, threads=2, queue_limit=10, batch_limit=len(rows), metrics=Metrics(), cores=2
    )
    asked = [asyncio.create_task(made.predict(rows, time.monotonic() + 60)) for _ in range(4)]
    longest, last, beats = 0.0, time.thread_time(), 0
    while not all(task.done() for task in asked):
        await asyncio.sleep(0.001)
        now = time.thread_time()
        longest, last, beats = max(longest, now - last), now, beats + 1
    assert longest < 0.05
    assert beats > 50
    made.close()


async def test_close_cancels_who_waits(gate: Gate) -> None:
    made = batcher(gate, threads=1)
    running = asyncio.create_task(made.predict(row(1), time.monotonic() + 30))
    await until(lambda: gate.busy == 1)
    waiting = asyncio.create_task(made.predict(row(1), time.monotonic() + 30))
    await until(lambda: made.depth == 1)
    made.close()
    with suppress(asyncio.CancelledError):
        await waiting
    assert waiting.cancelled()
    gate.open.set()
    assert await running == [1.0]


def test_cores_are_those_that_the_process_may_use() -> None:
    import os  # noqa: PLC0415

    assert 0 < usable_cores() <= len(os.sched_getaffinity(0))
