"""The plan's p99 beside a pod's, at 50, 80 and 100 % of what the pod carries, measured as `headroom load` does.

The model costs some milliseconds a row, in layers that share their weights: these stay in the processor's cache, so a
call takes the same at rest and under load, and the queue is what is seen and not the scheduler's ticks. One process on
one core with one model thread and one row a call, which is what the formula describes; k6 on the others. What goes into
the formula is what `headroom load` finds: mean and variation of a single client's requests, CPU time a request.

Then the same with batches, as the service runs, at what it carries and at three times that: what is accepted beside the
rest that is told to return, with a queue as long as its p99 allows.
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
from headroom.ops.load import Found, Generator, Reading, Shape, find
from headroom.progress import Silent

LOADS = (0.5, 0.8, 1.0)
SECONDS = int(os.environ.get("HEADROOM_BENCH_PREDICTION_SECONDS", "40"))
STEP_SECONDS = 6
WIDTH, HIDDEN, LAYERS = 30, 256, 2500
ENTITIES = 500


def measure(folder: Path) -> Iterator[Measurement]:
    """Deviations of predicted from measured p99, and what three times a pod's capacity does to those it accepts."""
    model = folder / "dense"
    _write_model(model)
    generator = Generator.ready(Silent())
    shape = Shape("/predict", tuple(f'{{"entity_id": "e{n}"}}' for n in range(ENTITIES)))
    alone = {"BATCH_LIMIT": "1", "DEADLINE_MS": "10000", "QUEUE_LIMIT": "1000"}
    with running(ours(**alone), model) as server, _elsewhere():
        yield from _compare(generator, shape, server)
    with running(ours(DEADLINE_MS="10000"), model) as server, _elsewhere():
        found = _find(generator, shape, server)
        carried = _run(generator, shape, server, found.best.rate, SECONDS)
    yield median("batches: rate that a pod carries", [found.best.rate], "requests/s")
    yield median("batches: p99 at that rate", [carried.p99_ms], "ms")
    # Whoever comes waits for the batch that runs and goes with the next: neither has more rows than may wait.
    limit = max(1, int(found.best.rate * found.p99_ms / 1000 / 2))
    with running(ours(DEADLINE_MS="10000", QUEUE_LIMIT=str(limit)), model) as server, _elsewhere():
        yield from _overload(generator, shape, server, found)


def _compare(generator: Generator, shape: Shape, server: Server) -> Iterator[Measurement]:
    found = _find(generator, shape, server)
    rest = generator.run(server.url, shape, None, 20, Silent(), warm_s=2)
    service, cv = rest.mean_ms / 1000, rest.cv
    before = server.cpu_seconds()
    readings = {load: _run(generator, shape, server, load * found.best.rate, SECONDS) for load in LOADS}
    sent = sum(r.due * (1 + 2 / SECONDS) for r in readings.values())
    cpu_time = (server.cpu_seconds() - before) / sent
    # The plan's servers: min(threads, max(1, floor(cpu limit × s / cpuTime))), with one thread and one core.
    servers = min(1, max(1, floor(service / cpu_time)))
    yield median("one row a call: rate that a pod carries", [found.best.rate], "requests/s")
    yield median("one row a call: service time", [service * 1000], "ms")
    yield median("one row a call: its coefficient of variation", [cv], "ratio")
    yield median("one row a call: CPU time a request", [cpu_time * 1000], "ms")
    for load, reading in readings.items():
        predicted = latency.p99(reading.rate, servers, service, cv) * 1000
        yield median(f"p99 at {load:.0%} load, measured", [reading.p99_ms], "ms")
        yield median(f"p99 at {load:.0%} load, predicted", [min(predicted, 1e6)], "ms")
        off = abs(min(predicted, 1e6) / reading.p99_ms - 1) * 100
        yield median(f"predicted off measured at {load:.0%} load", [off], "%", "<= 15")


def _overload(generator: Generator, shape: Shape, server: Server, found: Found) -> Iterator[Measurement]:
    _run(generator, shape, server, 3 * found.best.rate, STEP_SECONDS)  # its buffers have their size then
    before = server.resident_bytes()
    over = _run(generator, shape, server, 3 * found.best.rate, SECONDS)
    grown = server.resident_bytes() - before
    yield median("three times that rate: accepted", [over.rps], "requests/s")
    yield median("three times that rate: told to return", [over.refused / (over.due - over.unsent) * 100], "%")
    yield median("three times that rate: neither", [over.unknown + over.failed + over.silent], "requests", "<= 0")
    yield median("three times that rate: not sent in time", [over.unsent / over.due * 100], "%")
    yield median("three times that rate: p99 of the accepted", [over.p99_ms], "ms")
    held = over.p99_ms / found.p99_ms
    yield median("three times that rate: that p99 / the one that the rate was found for", [held], "ratio", "<= 1")
    yield median("three times that rate: memory grown", [grown / 2**20], "MiB", "<= 32")


def _find(generator: Generator, shape: Shape, server: Server) -> Found:
    def alone() -> Reading:
        return generator.run(server.url, shape, None, STEP_SECONDS, Silent(), warm_s=2)

    return find(lambda rate: _run(generator, shape, server, rate, STEP_SECONDS), None, alone=alone)


def _run(generator: Generator, shape: Shape, server: Server, rate: float, seconds: float) -> Reading:
    return generator.run(server.url, shape, rate, seconds, Silent(), warm_s=2)


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
