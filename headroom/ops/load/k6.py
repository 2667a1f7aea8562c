"""k6 as a child process: an order in, a reading out, and no trace of it left when it is stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Any

from headroom.errors import EnvironmentFailure
from headroom.local import binaries
from headroom.local.processes import last_line
from headroom.ops.load.model import Reading, Shape
from headroom.progress import Progress

SCRIPT = Path(__file__).with_name("script.js")
SPREAD_REQUESTS = 100
"""Arrivals are displaced over the time of about so many, and at most a second: far more than a queue remembers."""
LONGEST_SPREAD_S = 1.0
MOST_CLIENTS = 5000
"""A client takes 130 KiB and 0.4 ms to make."""
SLOW_S = 1.0
"""Clients are made beforehand for answers as slow as that; k6 makes more while it runs, and drops what is due then."""
START_S = 60
"""k6 makes its clients before it sends."""


@dataclass(frozen=True)
class Generator:
    """k6, built if it is not in the cache yet."""

    program: Path

    @classmethod
    def ready(cls, progress: Progress) -> Generator:
        """Raises EnvironmentFailure when k6 can neither be found nor built."""
        return cls(binaries.ensure((binaries.K6,), progress)["k6"])

    def run(
        self, url: str, shape: Shape, rate: float | None, seconds: float, progress: Progress, *, warm_s: float = 0.0
    ) -> Reading:
        """Send `rate` requests a second for `seconds`, after `warm_s` at the same rate that is not counted.

        With None it is one client that waits for each answer: what a request takes that meets no other, while the
        service is as warm as under load. Ends within the two and the requests' timeout. Ctrl-C ends it at once. Raises
        EnvironmentFailure when k6 fails.
        """
        seconds, warm_s = max(1, ceil(seconds)), ceil(warm_s)
        one_client, due = rate is None, rate or 1.0
        spread_s = min(LONGEST_SPREAD_S, SPREAD_REQUESTS / due)
        most = min(MOST_CLIENTS, ceil(due * (spread_s + shape.timeout_s)) + 10)
        with tempfile.TemporaryDirectory(prefix="headroom-load-") as folder:
            bodies, order = Path(folder) / "bodies.json", Path(folder) / "order.json"
            bodies.write_text(json.dumps(shape.bodies))
            told = {
                "url": url.rstrip("/") + shape.path,
                "bodies": str(bodies),
                "one_client": one_client,
                "rate_per_minute": max(1, round(due * 60)),
                "seconds": seconds,
                "warm_s": warm_s,
                "spread_s": spread_s,
                "timeout_s": shape.timeout_s,
                "clients": min(most, ceil(due * (spread_s + SLOW_S)) + 10),
                "most_clients": most,
            }
            order.write_text(json.dumps(told))
            longest = warm_s + seconds + ceil(spread_s + shape.timeout_s) + START_S
            output = self._run(folder, order, longest, warm_s + seconds, progress)
        return reading(json.loads(output), rate, seconds)

    def _run(self, folder: str, order: Path, longest_s: float, expected_s: float, progress: Progress) -> str:
        command = [str(self.program), "run", "--quiet", "--no-color", "--no-usage-report", "--address", "", str(SCRIPT)]
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("K6_")},
            **{"HEADROOM_LOAD_ORDER": str(order), "K6_AUTO_EXTENSION_RESOLUTION": "false", "HOME": folder},
        }
        out, log = Path(folder) / "out", Path(folder) / "log"
        with out.open("wb") as stdout, log.open("wb") as stderr:
            # A session of its own: Ctrl-C comes to us, and we end it.
            process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, start_new_session=True
            )
        began = time.monotonic()
        try:
            while process.poll() is None:
                passed = time.monotonic() - began
                if passed > longest_s:
                    raise EnvironmentFailure(
                        f"k6 did not end within {longest_s:.0f} s: this machine is too busy to measure from",
                        fix="lower --rate, or measure from another machine",
                    )
                progress.detail(f"{min(passed, expected_s):.0f} of {expected_s:.0f} s")
                _wait(process, 0.5)
        finally:
            _end(process)
        if process.returncode:
            raise EnvironmentFailure(
                f"k6 failed: {last_line(log.read_text(errors='replace'))[:300]}", fix="check --url, --path and --body"
            )
        return out.read_text()


def reading(metrics: dict[str, Any], rate: float | None, seconds: float) -> Reading:
    """A reading from k6's own summary of its metrics (milliseconds). Without a rate it is what was served."""

    def count(name: str) -> int:
        return int(metrics.get(name, {}).get("values", {}).get("count", 0))

    latency = metrics.get("latency", {}).get("values", {})
    squared = metrics.get("latency_squared", {}).get("values", {})
    told = {
        "mean_ms": latency.get("avg"),
        "p50_ms": latency.get("med"),
        "p95_ms": latency.get("p(95)"),
        "p99_ms": latency.get("p(99)"),
        "worst_ms": latency.get("max"),
    }
    measured: dict[str, float] = {}
    if latency.get("count"):
        measured = {name: float(value) for name, value in told.items()}
        mean = measured["mean_ms"]
        measured["cv"] = sqrt(max(0.0, float(squared["avg"]) - mean * mean)) / mean if mean else 0.0
    return Reading(
        rate=count("accepted") / seconds if rate is None else rate,
        seconds=seconds,
        accepted=count("accepted"),
        refused=count("refused"),
        unknown=count("unknown"),
        failed=count("failed"),
        silent=count("silent"),
        unsent=count("dropped_iterations{scenario:measured}"),
        **measured,
    )


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        # k6 stops gracefully at the first signal, which waits for requests in flight, and at once when killed.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
