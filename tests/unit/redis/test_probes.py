"""The probes' scripts against real servers: who loads data is alive and not ready, who hangs is neither."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from secrets import token_hex
from typing import Any

import pytest

BIN = Path(__file__).resolve().parents[3] / "images" / "redis" / "bin"
SLOWLY = "key-load-delay 50000\nloading-process-events-interval-bytes 1024\n"


@pytest.fixture
def probe(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    """Run a probe's script where its own pod is a server of the fleet; its exit code and complaint."""

    def go(fleet: Any, script: str, ordinal: int = 0) -> tuple[int, str]:
        own = fleet.settings(ordinal)
        folder = tmp_path / f"bin-{ordinal}"
        folder.mkdir(exist_ok=True)
        client = folder / "redis-cli"
        client.write_text(f'#!/bin/sh\nshift 2\nexec {shutil.which("redis-cli")} -h {own.address} "$@"\n')
        client.chmod(0o755)
        environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "REDIS_SECRETS": str(own.secrets)}
        done = subprocess.run([BIN / script], env=environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr.strip()

    return go


def test_loading_is_alive_and_not_ready_and_hanging_is_neither(
    fleet: Callable[[str], Any], probe: Callable[..., tuple[int, str]], eventually: Callable[..., None]
) -> None:
    made = fleet("sentinel")
    made.start(0)
    for n in range(100):
        made.call(0, "SET", f"key-{n}", token_hex(2000))
    assert (probe(made, "healthcheck"), probe(made, "redis-ready")) == ((0, ""), (0, ""))
    made.call(0, "BGREWRITEAOF")  # into a form whose loading answers between two keys
    eventually(lambda: "aof_last_rewrite_time_sec:-1" not in made.call(0, "INFO", "persistence"))
    made.stop(0)
    made.start(0, more=SLOWLY, wait=False)
    eventually(lambda: probe(made, "redis-ready") == (1, "it is loading its data"))
    assert probe(made, "healthcheck") == (0, "")
    eventually(lambda: probe(made, "redis-ready") == (0, ""))
    made.running[0].send_signal(signal.SIGSTOP)
    assert [probe(made, script)[0] for script in ("healthcheck", "redis-ready")] == [1, 1]


def test_a_replica_is_ready_when_it_has_had_its_masters_data(
    fleet: Callable[[str], Any], probe: Callable[..., tuple[int, str]], eventually: Callable[..., None]
) -> None:
    made = fleet("sentinel")
    made.start(1, master=0)
    assert probe(made, "redis-ready", 1) == (1, "it has not got its master's data yet")
    assert probe(made, "healthcheck", 1) == (0, "")
    made.start(0, master=0)
    eventually(lambda: probe(made, "redis-ready", 1) == (0, ""))
    made.stop(0)
    eventually(lambda: "master_link_status:down" in made.call(1, "INFO", "replication"))
    assert probe(made, "redis-ready", 1) == (0, ""), "what it has it can still give"


def test_a_clusters_node_is_ready_alone_and_not_where_it_sees_no_majority(
    fleet: Callable[[str], Any], probe: Callable[..., tuple[int, str]], eventually: Callable[..., None]
) -> None:
    made = fleet("cluster")
    made.start(0, 1, 2)
    assert probe(made, "redis-ready") == (0, ""), "no cluster has taken it in yet"
    for n in (0, 1, 2):
        made.call(n, "CLUSTER", "ADDSLOTSRANGE", 5000 * n, 5000 * n + 99)
        made.call(n, "CLUSTER", "SET-CONFIG-EPOCH", n + 1)
        made.call(0, "CLUSTER", "MEET", made.base.host(n), 6379)
    eventually(lambda: all("cluster_state:ok" in made.call(n, "CLUSTER", "INFO") for n in range(3)))
    eventually(lambda: all("cluster_known_nodes:3" in made.call(n, "CLUSTER", "INFO") for n in range(3)))
    assert probe(made, "redis-ready") == (0, "")
    made.stop(1, 2)
    eventually(lambda: probe(made, "redis-ready") == (1, "it does not see a working cluster"))
    assert probe(made, "healthcheck") == (0, ""), "a restart of it would help nobody"
