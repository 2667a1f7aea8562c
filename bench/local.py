"""The embedded cluster with a real node: how soon it is there, how soon `local` runs on it, and what it takes.

Whole processes, as a person waits for them. Everything must have been built (`make up` once); how long that took
on this machine was written down then, and is read here. Needs Linux and root. ROUNDS says how often (3 by default).
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.report import Measurement, median, worst
from headroom import local
from headroom.local import times

ROOT = Path(__file__).parent.parent
HEADROOM = str(Path(sys.executable).parent / "headroom")
CLUSTER = "headroom-bench-local"


def measure() -> Iterator[Measurement]:
    """The figures of the local area: what was built, then the same life of a cluster, ROUNDS times."""
    for what, seconds in times.known().items():
        yield worst(f"built: {what}, the longest time", seconds, "s")
    started: list[float] = []
    again: list[float] = []
    control_plane: list[float] = []
    deployed: list[float] = []
    unchanged: list[float] = []
    ended: list[float] = []
    try:
        for _ in range(int(os.environ.get("ROUNDS", "3"))):
            started.append(_timed("local", "up", "--nodes", "real"))
            again.append(_timed("local", "up"))
            control_plane.append(local.status(CLUSTER).control_plane_bytes / 2**20)
            deployed.append(_timed("up", "--stack", "local", "--yes"))
            _all_ready()
            unchanged.append(_timed("up", "--stack", "local", "--yes"))
            ended.append(_timed("local", "down"))
    finally:
        local.down(CLUSTER)
    yield median("warm start: control plane and real node Ready", started, "s", "<= 20")
    yield median("local up of a cluster that runs", again, "s")
    yield median("memory of the cluster's own processes, no pods", control_plane, "MiB")
    yield median("up of local until all pods are Ready, images loaded anew", deployed, "s", "<= 120")
    yield median("up of local again, nothing to change", unchanged, "s")
    yield median("local down with all pods running", ended, "s")


def _timed(*command: str) -> float:
    started = time.perf_counter()
    subprocess.run([HEADROOM, *command, "--name", CLUSTER], check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - started


def _all_ready() -> None:
    pods = [pod for pod in local.status(CLUSTER).pods if pod.phase != "Succeeded"]
    assert pods and all(pod.ready for pod in pods), pods
