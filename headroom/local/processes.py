"""The lasting processes of a cluster: started, found again, stopped, and never mistaken for another.

A process is known by its pid and its start time together, recorded before it runs (see `spawn.py`). What has lost its
record is still found: each carries the cluster's state folder in its environment.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from headroom.errors import EnvironmentFailure

MARK = "HEADROOM_CLUSTER_STATE"


@dataclass(frozen=True)
class Process:
    """A process of this machine. `started` is what tells it from a later one with the same pid."""

    pid: int
    started: str

    @property
    def alive(self) -> bool:
        return start_time(self.pid) == self.started != ""

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def start_time(pid: int) -> str:
    """When a process started, as an opaque word; empty when there is none (a zombie is none)."""
    if sys.platform == "linux":
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return ""
        # A process that was killed is a zombie while its last threads still hold its ports; then it is none.
        gone = fields[0] in "ZX" and int(fields[17]) <= 1
        return "" if gone else fields[19]
    listed = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()


def start(
    state: Path,
    part: str,
    argv: list[str],
    *,
    env: Mapping[str, str] | None = None,
    join: Process | None = None,
    make: Mapping[str, Mapping[str, str]] | None = None,
) -> Process:
    """Start `argv` as the cluster's process `part`; its output goes to `<state>/logs/<part>.log`.

    With `join`, inside the namespaces of that process; with `make`, as process 1 of new ones.
    Raises EnvironmentFailure when the system refuses.
    """
    record = state / "run" / f"{part}.json"
    order = {
        "argv": argv,
        "env": environment(state) | dict(env or {}),
        "log": str(state / "logs" / f"{part}.log"),
        "record": str(record),
        "join": join.pid if join else None,
        "make": make,
    }
    for folder in ("run", "logs"):
        (state / folder).mkdir(exist_ok=True)
    record.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-I", str(Path(__file__).with_name("spawn.py"))],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,
        env=environment(state),
    )
    if done.returncode or not record.exists():
        raise EnvironmentFailure(
            f"could not start {part}: {last_line(done.stderr)}",
            fix="a container must be privileged to make namespaces; as an ordinary user the cluster runs on loopback",
        )
    started = recorded(state, part)
    if started is None:
        raise EnvironmentFailure(f"{part} left no record in {record}", fix="see whether the disk is full")
    return started


def environment(state: Path) -> dict[str, str]:
    """What every process of the cluster has in its environment: no proxy, no kubeconfig, nothing of the user's own."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": str(state), MARK: str(state)}


def recorded(state: Path, part: str) -> Process | None:
    """The process `part` as recorded, alive or not; None when it was never started."""
    try:
        content = json.loads((state / "run" / f"{part}.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    pid = int(content["pid"])
    # Elsewhere than on Linux the starter cannot know the start time; the first to look fills it in.
    if not content["started"]:
        content["started"] = start_time(pid)
        (state / "run" / f"{part}.json").write_text(json.dumps(content))
    return Process(pid, content["started"])


def parts(state: Path) -> dict[str, Process]:
    """Every recorded process by its part's name, alive or not."""
    found = {}
    for file in sorted((state / "run").glob("*.json")):
        if process := recorded(state, file.stem):
            found[file.stem] = process
    return found


def living(state: Path, part: str) -> Process | None:
    """The process `part` if it runs."""
    process = recorded(state, part)
    return process if process and process.alive else None


def strays(state: Path) -> list[Process]:
    """Every process with the cluster's mark in its environment, recorded or not. Linux only; elsewhere empty."""
    mark = f"{MARK}={state}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                pid = int(folder.name)
                found.append(Process(pid, start_time(pid)))
    return found


def stop_all(targets: Iterable[Process], *, seconds: float = 20) -> None:
    """Kill processes and wait until they are gone. Raises EnvironmentFailure naming those that will not go."""
    left = [target for target in targets if target.alive]
    deadline = time.monotonic() + seconds
    while left:
        for target in left:
            target.kill()
        time.sleep(0.02)
        left = [target for target in left if target.alive]
        if left and time.monotonic() > deadline:
            pids = ", ".join(str(target.pid) for target in left)
            raise EnvironmentFailure(f"these processes do not end when killed: {pids}", fix="restart the machine")


def log_tail(state: Path, part: str, lines: int = 3) -> str:
    """The end of a part's log, for error messages."""
    try:
        text = (state / "logs" / f"{part}.log").read_text(errors="replace").strip()
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(line[:300] for line in text.splitlines()[-lines:])


def last_line(text: str) -> str:
    return (text.strip().splitlines() or ["no reason given"])[-1]
