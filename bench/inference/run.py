"""`python -m bench.inference.run`: requests per second and p99 of one process on one core, at 4 and 32 connections.

Servers take turns in short rounds, so that a slow spell of the machine meets all of them; what counts are the ratios.
Each runs alone on the first core, its load generator (`wrk`, closed loop) on the others. Beside wall time the CPU time
a request is given, which a busy machine distorts less.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from bench.report import Measurement, median, publish
from headroom.errors import EnvironmentFailure
from inference.train import train

ROOT = Path(__file__).parent.parent.parent
LOAD = Path(__file__).parent / "load.lua"
CONNECTIONS = (4, 32)
ROUNDS = int(os.environ.get("HEADROOM_BENCH_ROUNDS", "5"))
SECONDS = int(os.environ.get("HEADROOM_BENCH_SECONDS", "3"))
CORES = sorted(os.sched_getaffinity(0))


@dataclass
class Server:
    """One way to serve, and what was measured of it: by connections, a figure a round."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    rps: dict[int, list[float]] = field(default_factory=lambda: {c: [] for c in CONNECTIONS})
    p99_ms: dict[int, list[float]] = field(default_factory=lambda: {c: [] for c in CONNECTIONS})
    cpu_us: dict[int, list[float]] = field(default_factory=lambda: {c: [] for c in CONNECTIONS})


def measure() -> Iterator[Measurement]:
    """The figures of the inference area. Raises EnvironmentFailure without wrk or a second core."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise EnvironmentFailure("wrk, which makes the load, is not installed", fix="apt-get install wrk")
    with tempfile.TemporaryDirectory(prefix="headroom-bench-") as folder, ExitStack() as stack:
        train(Path(folder))
        servers = _servers()
        for server in servers:
            stack.enter_context(_running(server, Path(folder)))
        for _ in range(ROUNDS):
            for connections in CONNECTIONS:
                for server in servers:
                    _round(wrk, server, connections)
        yield from _figures({server.name: server for server in servers})


def _servers() -> list[Server]:
    python = sys.executable
    plain = [
        python,
        "-m",
        "uvicorn",
        "--no-access-log",
        "--log-level",
        "warning",
        "bench.inference.plain:app",
        "--port",
    ]
    # One core, so one thread for the model: the plan's ceil(cpu limit).
    own = {"WORKER_THREADS": "1"}
    return [
        Server("ours", [python, "-m", "inference"], own),
        Server("plain FastAPI", plain),
        Server("floor", [python, "-m", "bench.inference.floor"], own),
    ]


@contextmanager
def _running(server: Server, folder: Path) -> Iterator[None]:
    """The server on the first core, answering predictions."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        server.port = probe.getsockname()[1]
    command = [*server.command, str(server.port)] if server.command[-1] == "--port" else server.command
    environment = {
        **os.environ,
        **{"MODEL_PATH": str(folder / "model.onnx"), "HOST": "127.0.0.1", "PORT": str(server.port)},
        **{"PYTHONPATH": str(ROOT), "LOG_LEVEL": "error", "DRAIN_QUIET_S": "0", **server.environment},
    }
    with (folder / f"{server.port}.log").open("w+b") as log:
        server.process = subprocess.Popen(
            ["taskset", "-c", str(CORES[0]), *command],
            env=environment,
            cwd=ROOT,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _await_prediction(server, Path(log.name))
            yield
        finally:
            with suppress(ProcessLookupError):
                os.killpg(server.process.pid, signal.SIGTERM)
                try:
                    server.process.wait(20)
                except subprocess.TimeoutExpired:
                    os.killpg(server.process.pid, signal.SIGKILL)
                    server.process.wait()


def _await_prediction(server: Server, log: Path) -> None:
    assert server.process is not None
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/predict", b'{"entity_id":"entity-0001"}', {"Content-Type": "application/json"}
    )
    until = time.monotonic() + 180
    while True:
        with suppress(OSError):
            urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
            return
        if server.process.poll() is not None or time.monotonic() > until:
            raise EnvironmentFailure(
                f"{server.name} does not answer:\n{log.read_text()[-2000:]}", fix="start it by hand to see why"
            )
        time.sleep(0.2)


def _round(wrk: str, server: Server, connections: int) -> None:
    assert server.process is not None
    before = _cpu_seconds(server.process.pid)
    rest = ",".join(str(core) for core in CORES[1:] or CORES)
    command = ["taskset", "-c", rest, wrk, "-t1", f"-c{connections}", f"-d{SECONDS}s", "-s", str(LOAD)]
    out = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}"], check=True, capture_output=True, text=True
    ).stdout
    used = _cpu_seconds(server.process.pid) - before
    [line] = [line for line in out.splitlines() if line.startswith("result ")]
    requests, duration_us, _, p99_us, failed = (int(word) for word in line.split()[1:])
    if failed or not requests:
        raise EnvironmentFailure(f"{server.name} failed {failed} of {requests} requests", fix="see its log")
    server.rps[connections].append(requests / duration_us * 1e6)
    server.p99_ms[connections].append(p99_us / 1000)
    server.cpu_us[connections].append(used / requests * 1e6)


def _cpu_seconds(session: int) -> float:
    """CPU time of every process of a session so far, from /proc (fields 6, 14 and 15 of proc(5) stat)."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text().rpartition(")")[2].split()
            if int(fields[3]) == session:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _figures(servers: dict[str, Server]) -> Iterator[Measurement]:
    ours, plain, floor = servers["ours"], servers["plain FastAPI"], servers["floor"]
    for c in CONNECTIONS:
        for server in servers.values():
            yield median(f"{server.name}, {c} connections", server.rps[c], "requests/s")
            target = "<= 40" if server is ours and c == 32 else ""
            yield median(f"{server.name} p99, {c} connections", server.p99_ms[c], "ms", target)
            yield median(f"{server.name} CPU a request, {c} connections", server.cpu_us[c], "us")
        least = ">= 2" if c == 32 else ">= 1"
        yield median(f"ours / plain FastAPI, {c} connections", _ratios(ours.rps[c], plain.rps[c]), "ratio", least)
        yield median(f"ours / floor, {c} connections", _ratios(ours.rps[c], floor.rps[c]), "ratio")


def _ratios(ones: list[float], others: list[float]) -> list[float]:
    return [one / other for one, other in zip(ones, others, strict=True)]


if __name__ == "__main__":
    publish("inference", list(measure()))
