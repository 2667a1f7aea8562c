"""From stack file to plan, to objects, to a cluster: whole processes, as a person waits for them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.report import Measurement, median
from headroom.capacity import demand, plan

ROOT = Path(__file__).parent.parent
HEADROOM = str(Path(sys.executable).parent / "headroom")
ROUNDS = 5
SERVICES = 1000
CLUSTER = "headroom-bench"


def measure() -> Iterator[Measurement]:
    """The figures of the plan area. Compared commands take turns, so that a slow spell meets both."""
    with tempfile.TemporaryDirectory() as folder:
        yield from _whole(Path(folder))


def _whole(folder: Path) -> Iterator[Measurement]:
    # Modules as they are from their second import on, also where the environment forbids to keep their bytecode.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    times: dict[str, list[float]] = {"plan": [], "import": [], "render": []}
    commands = {
        "plan": (HEADROOM, "plan", "--stack", "prod", "--format", "json"),
        "import": (sys.executable, "-c", "import pulumi_kubernetes"),
        "render": (HEADROOM, "render", "--stack", "prod", "--out", str(folder / "objects")),
    }
    for command in commands.values():
        _timed(environment, *command)
    for _ in range(ROUNDS):
        for name, command in commands.items():
            times[name].append(_timed(environment, *command))
    plan_s, import_s, render_s = times.values()
    ratios = [whole / bare for whole, bare in zip(render_s, import_s, strict=True)]
    yield median("headroom plan of prod", plan_s, "s")
    yield median("bare import of pulumi_kubernetes", import_s, "s")
    yield median("headroom render of prod", render_s, "s")
    yield median("render of prod / bare import", ratios, "ratio", "<= 2")
    yield median(f"plan of {SERVICES} services", [_many_services() for _ in range(3)], "s", "<= 2")
    yield median("up of local, warm, fake nodes", _ups(environment), "s", "<= 30")


def _timed(environment: Mapping[str, str], *command: str) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=environment)
    return time.perf_counter() - started


def _many_services() -> float:
    service = {
        "preset": "fastapi",
        "image": "registry.example/inference:1.0.0",
        "demand": {"targetRps": 1000, "latency": {"p99": "50ms"}},
        "profile": {"rpsPerPod": 100, "serviceTime": "8ms", "serviceTimeCv": 1, "workerThreads": 4},
    }
    config = {
        "headroom:environment": "prod",
        "headroom:namespace": "many",
        "headroom:services": {f"service-{n}": service for n in range(SERVICES)},
    }
    started = time.perf_counter()
    made = plan.make(demand.from_config("many", config))
    assert len(made.services) == SERVICES
    return time.perf_counter() - started


def _ups(environment: Mapping[str, str]) -> list[float]:
    """`headroom up` on a warm cluster that has nothing of ours yet, three times."""
    _timed(environment, HEADROOM, "local", "up", "--name", CLUSTER, "--nodes", "fake")
    try:
        samples = []
        for _ in range(3):
            samples.append(_timed(environment, HEADROOM, "up", "--stack", "local", "--name", CLUSTER, "--yes"))
            _timed(
                environment,
                HEADROOM,
                "down",
                "--stack",
                "local",
                "--name",
                CLUSTER,
                "--yes",
                "--delete-data",
                "headroom",
            )
        return samples
    finally:
        _timed(environment, HEADROOM, "local", "down", "--name", CLUSTER)
