"""Ways to serve the same model, each as a process on the first core, and what it takes to start and end one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench.inference import others
from bench.ports import free_port
from headroom.errors import EnvironmentFailure

ROOT = Path(__file__).parent.parent.parent
CORES = sorted(os.sched_getaffinity(0))
MARK = "HEADROOM_BENCH_RUN"
OURS, PLAIN, FLOOR, BENTO, RAY = "ours", "plain FastAPI", "floor", "BentoML", "Ray Serve"


_MODEL = "model_duration_seconds"


@dataclass(frozen=True)
class ModelTime:
    """Seconds that calls of the model took, and how many there were."""

    seconds: float
    calls: float


@dataclass
class Server:
    """One way to serve. `port` and `process` are set while it runs; `mark` is in the environment of all it starts."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    process: subprocess.Popen[bytes] | None = None
    mark: str = ""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def alone(self, among: list[Server]) -> Iterator[None]:
        """Stop the others for a while: idle, Ray alone would take a tenth of the core."""
        others = [pid for other in among if other is not self for pid in _marked(other.mark)]
        _signal(others, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(others, signal.SIGCONT)

    def cpu_seconds(self) -> float:
        """CPU time of all its processes so far (fields 14 and 15 of proc(5) stat)."""
        ticks = 0
        for pid in _marked(self.mark):
            with suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def model_seconds(self) -> ModelTime:
        """What our service's model has taken so far."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as answer:  # noqa: S310 - our own server
            text = answer.read().decode()
        values = {s.name: s.value for f in text_string_to_metric_families(text) for s in f.samples if f.name == _MODEL}
        return ModelTime(values[f"{_MODEL}_sum"], values[f"{_MODEL}_count"])

    def resident_bytes(self) -> int:
        """Memory of all its processes (field 2 of proc(5) statm)."""
        pages = 0
        for pid in _marked(self.mark):
            with suppress(OSError):
                pages += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def every(folder: Path) -> list[Server]:
    """Ours, plain FastAPI, the floor; and the frameworks that can be installed here, into `folder`."""
    python = sys.executable
    plain = ["-m", "uvicorn", "--no-access-log", "--log-level", "warning", "bench.inference.plain:app", "--port"]
    found = [ours(), Server(PLAIN, [python, *plain]), Server(FLOOR, [python, "-m", "bench.inference.floor"], _ONE_CORE)]
    installed = others.install(folder)
    if installed is not None:
        bento = ["-m", "bentoml", "serve", "bench.inference.bento:Sample", "--host", "127.0.0.1", "--port"]
        quiet = {"BENTOML_DO_NOT_TRACK": "true", "BENTOML_HOME": str(folder / "bentoml"), "HOME": str(folder)}
        found.append(Server(BENTO, [str(installed), *bento], quiet))
        quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0", "HOME": str(folder)}
        found.append(Server(RAY, [str(installed), "-m", "bench.inference.rayserve"], quiet))
    return found


# One core, so one thread for the model: the plan's ceil(cpu limit).
_ONE_CORE = {"WORKER_THREADS": "1"}


def ours(**settings: str) -> Server:
    """The service, with one thread for the model and whatever else is set."""
    return Server(OURS, [sys.executable, "-m", "inference"], {**_ONE_CORE, **settings})


@contextmanager
def running(server: Server, model: Path) -> Iterator[Server]:
    """The server on the first core, answering predictions of the model in that folder; nothing of it left after."""
    server.port = free_port()
    server.mark = uuid.uuid4().hex
    command = [*server.command, str(server.port)] if server.command[-1] == "--port" else server.command
    environment = {
        **os.environ,
        **{"MODEL_PATH": str(model / "model.onnx"), "HOST": "127.0.0.1", "PORT": str(server.port)},
        **{"PYTHONPATH": str(ROOT), "LOG_LEVEL": "error", "DRAIN_QUIET_S": "0", MARK: server.mark},
        **server.environment,
    }
    log = model / f"{server.port}.log"
    with log.open("wb") as out:
        server.process = subprocess.Popen(
            ["taskset", "-c", str(CORES[0]), *command],
            env=environment,
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_prediction(server, log)
        yield server
    finally:
        _end(server)


def _end(server: Server) -> None:
    assert server.process is not None
    with suppress(ProcessLookupError):
        os.killpg(server.process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        server.process.wait(20)
    while left := _marked(server.mark):  # Ray's are in sessions of their own
        _signal(left, signal.SIGKILL)
        time.sleep(0.1)
    server.process.wait()


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def _marked(mark: str) -> list[int]:
    """Living processes that carry the mark in their environment."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            carries = f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
            if carries and (folder / "stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.append(int(folder.name))
    return found


def _await_prediction(server: Server, log: Path) -> None:
    assert server.process is not None
    body = b'{"entity_id":"entity-0001"}'
    request = urllib.request.Request(f"{server.url}/predict", body, {"Content-Type": "application/json"})  # noqa: S310
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
