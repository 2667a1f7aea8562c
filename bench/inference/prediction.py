"""The plan's p99 beside a pod's, at 50, 80 and 100 % of what the pod carries, measured as `headroom load` does.

The model costs some milliseconds a row (a dense network), so that the queue is what is seen and not the scheduler's
ticks. One process on one core with one model thread; k6 on the others. What goes into the formula is what
`headroom load` finds: mean and variation at rest, CPU time a request. Once with one row a call of the model, which is
what the formula describes, and once with batches, which it knows nothing of.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from math import floor
from pathlib import Path
from typing import Any

import numpy as np

from bench.inference.servers import CORES, Server, ours, running
from bench.report import Measurement, median
from headroom.capacity.plan import latency
from headroom.ops.load import Generator, Reading, Shape, find
from headroom.progress import Silent

LOADS = (0.5, 0.8, 1.0)
SECONDS = int(os.environ.get("HEADROOM_BENCH_PREDICTION_SECONDS", "40"))
STEP_SECONDS = 6
WIDTH, HIDDEN = 30, 2048
ENTITIES = 500


def measure(folder: Path) -> Iterator[Measurement]:
    """Deviations of predicted from measured p99."""
    model = folder / "dense"
    _write_model(model)
    generator = Generator.ready(Silent())
    shape = Shape("/predict", tuple(f'{{"entity_id": "e{n}"}}' for n in range(ENTITIES)))
    for name, settings in (("one row a call", {"BATCH_LIMIT": "1"}), ("batches", {})):
        with running(ours(**settings, DEADLINE_MS="10000", QUEUE_LIMIT="1000"), model) as server, _elsewhere():
            yield from _compare(name, generator, shape, server)


def _compare(name: str, generator: Generator, shape: Shape, server: Server) -> Iterator[Measurement]:
    def run(rate: float, seconds: float = STEP_SECONDS) -> Reading:
        return generator.run(server.url, shape, rate, seconds, Silent(), warm_s=2)

    found = find(run, None)
    rest = run(found.rest.rate, 20)
    service, cv = rest.mean_ms / 1000, rest.cv
    before = server.cpu_seconds()
    readings = {load: run(load * found.best.rate, SECONDS) for load in LOADS}
    sent = sum(r.due * (1 + 2 / SECONDS) for r in readings.values())
    cpu_time = (server.cpu_seconds() - before) / sent
    # The plan's servers: min(threads, max(1, floor(cpu limit × s / cpuTime))), with one thread and one core.
    servers = min(1, max(1, floor(service / cpu_time)))
    yield median(f"{name}: rate that a pod carries", [found.best.rate], "requests/s")
    yield median(f"{name}: service time at rest", [service * 1000], "ms")
    yield median(f"{name}: its coefficient of variation", [cv], "ratio")
    yield median(f"{name}: CPU time a request", [cpu_time * 1000], "ms")
    for load, reading in readings.items():
        predicted = latency.p99(reading.rate, servers, service, cv) * 1000
        yield median(f"{name}: p99 at {load:.0%} load, measured", [reading.p99_ms], "ms")
        yield median(f"{name}: p99 at {load:.0%} load, predicted", [min(predicted, 1e6)], "ms")
        off = abs(min(predicted, 1e6) / reading.p99_ms - 1) * 100
        yield median(f"{name}: predicted off measured at {load:.0%} load", [off], "%", "<= 15")


@contextmanager
def _elsewhere() -> Iterator[None]:
    """This process and what it starts on the other cores."""
    os.sched_setaffinity(0, CORES[1:] or CORES)
    try:
        yield
    finally:
        os.sched_setaffinity(0, CORES)


def _write_model(folder: Path) -> None:
    """A network of two hidden layers with random weights: [rows, 30] to a label and two scores, and its features."""
    from onnx import TensorProto, checker, helper, numpy_helper  # noqa: PLC0415 - skl2onnx brings it

    random = np.random.default_rng(7)

    def weights(name: str, rows: int, columns: int) -> Any:
        values = random.normal(scale=rows**-0.5, size=(rows, columns)).astype(np.float32)
        return numpy_helper.from_array(values, name)

    nodes = [
        helper.make_node("MatMul", ["features", "w1"], ["h1"]),
        helper.make_node("Relu", ["h1"], ["r1"]),
        helper.make_node("MatMul", ["r1", "w2"], ["h2"]),
        helper.make_node("Relu", ["h2"], ["r2"]),
        helper.make_node("MatMul", ["r2", "w3"], ["h3"]),
        helper.make_node("Softmax", ["h3"], ["probabilities"]),
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
