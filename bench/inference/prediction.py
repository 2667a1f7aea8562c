"""The plan's p99 beside a pod's, at 50, 80 and 100 % of what the pod carries, measured as `headroom load` does.

The model costs some milliseconds a row, in layers that share their weights: these stay in the processor's cache, so a
call takes the same at rest and under load, and the queue is what is seen and not the scheduler's ticks. One process on
one core with one model thread and one row a call, which is what the formula describes; k6 on the others. What goes into
the formula is what `headroom load` finds, mean and variation of a single client's requests: read before and after each
run under load, as a core of a shared machine is not the same a minute later. Beside that the formula with the model's
own time during the run, which says how much of a difference is the machine's.

Then the same with batches, as the service runs, at what it carries and at three times that: what is accepted beside the
rest that is told to return, with a queue as long as its p99 allows.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from bench.inference.servers import CORES, Server, ours, running
from bench.report import Measurement, median
from headroom.capacity.plan import latency
from headroom.ops.load import Generator, Reading, Shape, find
from headroom.progress import Silent

LOADS = (0.5, 0.8, 1.0)
TURNS = int(os.environ.get("HEADROOM_BENCH_PREDICTION_TURNS", "5"))
STEP_SECONDS = 6
TURN_SECONDS = 8
LONE_SECONDS = 4
WITHIN = 5.0
"""The SLA of the comparison, in times of what a lone request takes."""
WIDTH, HIDDEN, LAYERS = 30, 256, 2500
ENTITIES = 500


@dataclass(frozen=True)
class _Turn:
    """The p99 of one run, predicted from lone requests before and after it, and from the model's time during it."""

    measured_ms: float
    profiled_ms: float
    meanwhile_ms: float


@dataclass(frozen=True)
class _Pod:
    """A server under load, and what its lone requests took each time that it was asked."""

    generator: Generator
    shape: Shape
    server: Server
    lone: list[Reading]

    def alone(self) -> Reading:
        self.lone.append(self.generator.run(self.server.url, self.shape, None, LONE_SECONDS, Silent(), warm_s=1))
        return self.lone[-1]

    def run(self, rate: float, seconds: float = TURN_SECONDS) -> Reading:
        return self.generator.run(self.server.url, self.shape, rate, seconds, Silent(), warm_s=2)

    def service_s(self) -> float:
        """What a lone request took before and after the last run."""
        return mean(reading.mean_ms for reading in self.lone[-2:]) / 1000

    def cv(self) -> float:
        return mean(reading.cv for reading in self.lone[-2:])


def measure(folder: Path) -> Iterator[Measurement]:
    """Deviations of predicted from measured p99, and what three times a pod's capacity does to those it accepts."""
    model = folder / "dense"
    _write_model(model)
    generator = Generator.ready(Silent())
    shape = Shape("/predict", tuple(f'{{"entity_id": "e{n}"}}' for n in range(ENTITIES)))
    alone = {"BATCH_LIMIT": "1", "DEADLINE_MS": "10000", "QUEUE_LIMIT": "1000"}
    with running(ours(**alone), model) as server, _elsewhere():
        yield from _compare(_Pod(generator, shape, server, []))
    with running(ours(DEADLINE_MS="10000"), model) as server, _elsewhere():
        pod = _Pod(generator, shape, server, [])
        rest = pod.alone()
        sla_ms = WITHIN * rest.mean_ms
        best = find(lambda rate: pod.run(rate, STEP_SECONDS), sla_ms, alone=lambda: rest).best
    yield median("batches: rate that a pod carries", [best.rate], "requests/s")
    yield median("batches: p99 at that rate", [best.p99_ms], "ms")
    limit = max(1, int(max(best.rate * sla_ms / 1000, WITHIN)) - 1)  # the plan's queueLimit of one thread
    yield median("batches: requests that may wait", [limit], "requests")
    with running(ours(DEADLINE_MS="10000", QUEUE_LIMIT=str(limit)), model) as server, _elsewhere():
        yield from _limited(_Pod(generator, shape, server, []), best.rate * rest.mean_ms / 1000)


def _compare(pod: _Pod) -> Iterator[Measurement]:
    pod.alone()
    turns: dict[float, list[_Turn]] = {load: [] for load in LOADS}
    rates = []
    for _ in range(TURNS):
        for load in LOADS:
            # A shared machine's core is now faster, now slower: the same share of what it carries at this moment.
            full = _carried(pod.lone[-1].mean_ms / 1000, pod.lone[-1].cv)
            before = pod.server.model_seconds()
            measured = pod.run(load * full)
            after = pod.server.model_seconds()
            pod.alone()
            meanwhile = (after.seconds - before.seconds) / (after.calls - before.calls)
            predicted = (_p99_ms(load * full, service, pod.cv()) for service in (pod.service_s(), meanwhile))
            turns[load].append(_Turn(measured.p99_ms, *predicted))
            rates.append(full)
    yield median("one row a call: rate that a pod carries", rates, "requests/s")
    yield median("one row a call: service time", [reading.mean_ms for reading in pod.lone], "ms")
    yield median("one row a call: its coefficient of variation", [reading.cv for reading in pod.lone], "ratio")
    for load, taken in turns.items():
        yield median(f"p99 at {load:.0%} load, measured", [turn.measured_ms for turn in taken], "ms")
        yield median(f"p99 at {load:.0%} load, predicted", [turn.profiled_ms for turn in taken], "ms")
        ratios = [turn.profiled_ms / turn.measured_ms for turn in taken]
        ratio = median(f"predicted / measured at {load:.0%} load", ratios, "ratio")
        yield ratio
        yield median(f"predicted off measured at {load:.0%} load", [abs(ratio.value - 1) * 100], "%", "<= 15")
        exact = [turn.meanwhile_ms / turn.measured_ms for turn in taken]
        yield median(f"the same at {load:.0%} load, with the model's time of the run itself", exact, "ratio")


def _carried(service_s: float, cv: float) -> float:
    """The rate at which the formula's p99 is WITHIN times the service time, by bisection."""
    low, high = 0.0, 1 / service_s
    for _ in range(40):
        middle = (low + high) / 2
        if latency.meets(WITHIN * service_s, middle, 1, service_s, cv):
            low = middle
        else:
            high = middle
    return low


def _p99_ms(rate: float, service_s: float, cv: float) -> float:
    """The plan's: one thread on one core; where it cannot keep up, more than any run here takes."""
    return min(1e6, 1000 * latency.p99(rate, 1, service_s, cv))


def _limited(pod: _Pod, carried: float) -> Iterator[Measurement]:
    """What is accepted at `carried` requests in the time that a lone one takes, and at three times that."""
    pod.alone()
    pod.run(3 * carried / pod.service_s())  # its buffers have their size then
    before = pod.server.resident_bytes()
    at_rate: list[tuple[Reading, float]] = []
    over: list[tuple[Reading, float]] = []
    for _ in range(TURNS):
        for times, readings in ((1, at_rate), (3, over)):
            reading = pod.run(times * carried * 1000 / pod.lone[-1].mean_ms)
            pod.alone()
            readings.append((reading, WITHIN * 1000 * pod.service_s()))
    grown = pod.server.resident_bytes() - before
    for name, readings, most in (("that rate", at_rate, "<= 1"), ("three times that rate", over, "")):
        refused = [r.refused / (r.due - r.unsent) * 100 for r, _ in readings]
        yield median(f"{name}: accepted", [r.rps for r, _ in readings], "requests/s")
        yield median(f"{name}: told to return", refused, "%", most)
        yield median(f"{name}: neither", [r.unknown + r.failed + r.silent for r, _ in readings], "requests", "<= 0")
        yield median(f"{name}: not sent in time", [r.unsent / r.due * 100 for r, _ in readings], "%")
        yield median(f"{name}: p99 of the accepted", [r.p99_ms for r, _ in readings], "ms")
        yield median(f"{name}: that p99 / the promised one", [r.p99_ms / sla for r, sla in readings], "ratio", "<= 1")
    yield median("three times that rate: memory grown", [grown / 2**20], "MiB", "<= 32")


@contextmanager
def _elsewhere() -> Iterator[None]:
    """This process and what it starts on the other cores."""
    os.sched_setaffinity(0, CORES[1:] or CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


def _write_model(folder: Path) -> None:
    """A deep network with random weights: [rows, 30] to a label and two scores, and its features."""
    from onnx import TensorProto, checker, helper, numpy_helper  # noqa: PLC0415 - skl2onnx brings it

    random = np.random.default_rng(7)

    def weights(name: str, rows: int, columns: int) -> Any:
        values = random.normal(scale=rows**-0.5, size=(rows, columns)).astype(np.float32)
        return numpy_helper.from_array(values, name)

    nodes = [helper.make_node("MatMul", ["features", "w1"], ["h0"])]
    for n in range(LAYERS):
        nodes.append(helper.make_node("MatMul", [f"h{n}", "w2"], [f"m{n}"]))
        nodes.append(helper.make_node("Tanh", [f"m{n}"], [f"h{n + 1}"]))
    nodes += [
        helper.make_node("MatMul", [f"h{LAYERS}", "w3"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"]),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, WIDTH])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2]),
        ],
        [weights("w1", WIDTH, HIDDEN), weights("w2", HIDDEN, HIDDEN), weights("w3", HIDDEN, 2)],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    checker.check_model(made)
    folder.mkdir()
    (folder / "model.onnx").write_bytes(made.SerializeToString())
    rows = random.normal(size=(ENTITIES, WIDTH))
    lines = [",".join([f"e{n}", *(repr(float(v)) for v in row)]) for n, row in enumerate(rows)]
    head = ",".join(["entity_id", *(f"f{n}" for n in range(WIDTH))])
    # The first entity is asked for to see whether the service answers.
    lines.append(lines[0].replace("e0,", "entity-0001,", 1))
    (folder / "features.csv").write_text("\n".join([head, *lines]) + "\n")
