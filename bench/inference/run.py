"""`python -m bench.inference.run`: requests per second and p99 of one process on one core, at 4 and 32 connections.

Servers take turns in short rounds, so that a slow spell of the machine meets all of them; what counts are the ratios.
Each runs alone on the first core, its load generator (`wrk`, closed loop) on the others. Beside wall time the CPU time
a request is given, which a busy machine distorts less. Then the plan's prediction beside a pod's p99, in open loop.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.inference import prediction
from bench.inference.servers import BENTO, CORES, FLOOR, OURS, PLAIN, RAY, Server, every, running
from bench.report import Measurement, median, publish
from headroom.errors import EnvironmentFailure
from inference.train import train

LOAD = Path(__file__).parent / "load.lua"
CONNECTIONS = (4, 32)
ROUNDS = int(os.environ.get("HEADROOM_BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("HEADROOM_BENCH_SECONDS", "3"))

Samples = dict[tuple[str, int], list[float]]


def measure() -> Iterator[Measurement]:
    """The figures of the inference area. Raises EnvironmentFailure without wrk."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise EnvironmentFailure("wrk, which makes the load, is not installed", fix="apt-get install wrk")
    rps: Samples = defaultdict(list)
    p99_ms: Samples = defaultdict(list)
    cpu_us: Samples = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="headroom-bench-") as folder:
        train(Path(folder))
        with ExitStack() as stack:
            servers = [server for server in every(Path(folder)) if _started(server, Path(folder), stack)]
            for _ in range(ROUNDS):
                for connections in CONNECTIONS:
                    for server in servers:
                        with server.alone(servers):
                            found = _round(wrk, server, connections)
                        for samples, value in zip((rps, p99_ms, cpu_us), found, strict=True):
                            samples[server.name, connections].append(value)
        yield from _figures([server.name for server in servers], rps, p99_ms, cpu_us)
        yield from prediction.measure(Path(folder))


def _started(server: Server, folder: Path, stack: ExitStack) -> bool:
    """Start a server for as long as the stack is open. One that is only compared with may fail, in a line."""
    try:
        stack.enter_context(running(server, folder))
    except EnvironmentFailure as failure:
        if server.name not in (BENTO, RAY):
            raise
        print(f"not compared with {server.name}: {failure.message}", file=sys.stderr)
        return False
    return True


def _round(wrk: str, server: Server, connections: int) -> tuple[float, float, float]:
    """Requests a second, p99 in ms, CPU microseconds a request."""
    before = server.cpu_seconds()
    rest = ",".join(str(core) for core in CORES[1:] or CORES)
    command = ["taskset", "-c", rest, wrk, "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(LOAD), server.url]
    out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    used = server.cpu_seconds() - before
    [line] = [line for line in out.splitlines() if line.startswith("result ")]
    requests, duration_us, _, p99_us, failed = (int(word) for word in line.split()[1:])
    if failed or not requests:
        raise EnvironmentFailure(f"{server.name} failed {failed} of {requests} requests", fix="see its log")
    return requests / duration_us * 1e6, p99_us / 1000, used / requests * 1e6


def _figures(names: list[str], rps: Samples, p99_ms: Samples, cpu_us: Samples) -> Iterator[Measurement]:
    for c in CONNECTIONS:
        for name in names:
            yield median(f"{name}, {c} connections", rps[name, c], "requests/s")
            target = "<= 40" if name == OURS and c == 32 else ""
            yield median(f"{name} p99, {c} connections", p99_ms[name, c], "ms", target)
            yield median(f"{name} CPU a request, {c} connections", cpu_us[name, c], "us")
        for name in names:
            if name != OURS:
                least = {PLAIN: ">= 2" if c == 32 else ">= 1", FLOOR: ""}.get(name, ">= 1")
                ratios = [one / other for one, other in zip(rps[OURS, c], rps[name, c], strict=True)]
                yield median(f"ours / {name}, {c} connections", ratios, "ratio", least)


if __name__ == "__main__":
    publish("inference", list(measure()))
