"""Redis on real pods: seconds of a failover in each mode, a resize under load, and what clients feel of it.

It uses the rig of the tests on real pods: a ledger outside every pod, with the inference service's own client.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.report import Measurement, median, worst
from headroom import local
from headroom.local import faults

ROOT = Path(__file__).parent.parent
CLUSTER = "headroom-bench"
FAILOVERS = 5
KEYS = 20_000
PATIENT_MS = 1000
"""What a client of a resize waits, so that errors are the resize's and not a busy machine's."""


def measure() -> Iterator[Measurement]:
    """The figures of the Redis area."""
    rig = _rig()
    cluster = local.up(CLUSTER, nodes="real")
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield from _mode(rig, cluster, "sentinel", Path(folder))
            yield from _mode(rig, cluster, "cluster", Path(folder))
    finally:
        local.down(CLUSTER)


def _rig() -> Any:
    spec = importlib.util.spec_from_file_location("redis_rig", ROOT / "tests" / "e2e" / "redis" / "conftest.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _mode(rig: Any, cluster: local.Cluster, mode: str, folder: Path) -> Iterator[Measurement]:
    for redis in rig.stack(cluster, mode, folder):
        ledger = rig.Ledger(redis, f"bench-{mode}-")
        try:
            ledger.writes_again()
            gaps, lost = _failovers(redis, ledger)
            target = "<= 10" if mode == "sentinel" else "<= 8"
            yield worst(f"{mode}: a master hangs, seconds until writes are accepted", gaps, "s", target)
            yield worst(f"{mode}: acknowledged writes lost, all failovers", [lost], "writes")
        finally:
            ledger.close()
        if mode == "cluster":
            ledger = rig.Ledger(redis, "bench-resize-", PATIENT_MS)
            try:
                ledger.writes_again()
                yield from _resizes(redis, ledger)
            finally:
                ledger.close()


def _failovers(redis: Any, ledger: Any) -> tuple[list[float], float]:
    gaps = []
    for _ in range(FAILOVERS):
        redis.whole(len(redis.pods()))
        while redis.mode == "sentinel" and redis.unfit_sentinels():
            time.sleep(1)
        ledger.ask("mark")
        ledger.writes_again()
        with faults.frozen(cluster := redis.cluster, redis.name, redis.masters()[0]):
            assert cluster.nodes == "real"
            time.sleep(8)
            ledger.writes_again()
            gaps.append(float(ledger.ask("tell")["longest_gap_s"]))
        time.sleep(8)
    return gaps, float(ledger.ask("check")["lost"])


def _resizes(redis: Any, ledger: Any) -> Iterator[Measurement]:
    ledger.ask(f"fill {KEYS}")
    ledger.ask("mark")
    time.sleep(20)
    before = ledger.ask("tell")
    seconds, during, errors = [], [], 0
    for masters in (4, 3):
        ledger.ask("mark")
        began = time.monotonic()
        redis.up(override={"masters": {"value": masters, "because": "the benchmark"}})
        seconds.append(time.monotonic() - began)
        told = ledger.ask("tell")
        during.append(told)
        errors += told["failed_writes"] + told["failed_reads"]
    yield median("resize 3 to 4 and 4 to 3 masters, whole `headroom up`", seconds, "s")
    yield median("resize, a 10,000 keys", [s / (KEYS / 10_000) for s in seconds], "s")
    yield median("client p99 before", [before["p99_ms"]], "ms")
    yield median("client p99 while resizing", [d["p99_ms"] for d in during], "ms")
    yield worst("p99 while resizing / before", [d["p99_ms"] / before["p99_ms"] for d in during], "ratio")
    yield worst("client errors while resizing", [float(errors)], "errors", "<= 0")
    yield worst("keys lost by resizing", [float(ledger.ask("check")["lost"])], "keys", "<= 0")
