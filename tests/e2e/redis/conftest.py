"""Redis on real pods in each mode, and a ledger that writes to it while things break."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from headroom import local
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.local import processes, room
from headroom.ops.verify import Scene, Verdict
from headroom.ops.verify import redis as verify

ROOT = Path(__file__).resolve().parents[3]
DNS_SERVICE = ("kube-dns", "kube-system")


@dataclass
class Redis:
    """A stack that has nothing but Redis."""

    name: str
    mode: str
    cluster: local.Cluster
    kubectl: Kubectl
    file: Path

    def up(self, **override: Any) -> str:
        """`headroom up` with an override of the redis part; what it said."""
        redis: dict[str, Any] = {
            "mode": self.mode,
            "demand": {"dataset": "40MB", "opsPerSecond": 1000},
            "node": {"maxmemory": "64Mi", "opsPerSecond": 10000, "cpu": "25m", "limits": {"cpu": "1"}},
            **override,
        }
        config = {"headroom:environment": "local", "headroom:namespace": self.name, "headroom:redis": redis}
        self.file.write_text(yaml.safe_dump({"config": config}))
        return self.headroom("up", "--yes")

    def headroom(self, *args: str, good: bool = True) -> str:
        command = [*args, "--stack", self.name, "--name", self.cluster.name, "--config", str(self.file)]
        done = CliRunner().invoke(application(), command)
        assert not good or done.exit_code == 0, done.output
        return done.output

    def pods(self) -> list[dict[str, Any]]:
        found = self.kubectl.items("pods", self.name, "app=redis")
        return [p for p in found if "deletionTimestamp" not in p["metadata"]]

    def report(self, pod: str) -> dict[str, Any]:
        """What a pod says of itself; empty where it does not answer."""
        done = self.kubectl.run(
            "exec", "-n", self.name, pod, "-c", "redis", "--", "redis-node", "report", check=False, timeout=30
        )
        found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
        return found

    def masters(self) -> list[str]:
        names = [p["metadata"]["name"] for p in self.pods()]
        return [name for name in names if self.report(name).get("role") == "master"]

    def cli(self, pod: str, *words: str, port: int = 6379) -> str:
        """redis-cli in a pod, as administrator."""
        script = f'REDISCLI_AUTH=$(cat /etc/redis-auth/redisAdmin) exec redis-cli --user admin -p {port} "$@"'
        command = ["exec", "-n", self.name, pod, "-c", "redis", "--", "sh", "-c", script, "sh", *words]
        return self.kubectl.run(*command, timeout=30).stdout.strip()

    def failing(self) -> dict[str, str]:
        """What `headroom verify` finds wrong with Redis: evidence by check."""
        scene = Scene(plans.make(demands.load(self.name, self.file)), self.kubectl, real_pods=True)
        found = list(verify.redis(scene))
        assert found
        return {f.check: f.evidence for f in found if f.verdict is not Verdict.passed}

    def unfit_sentinels(self) -> list[str]:
        """The pods whose sentinel could not help a failover yet.

        It does not know all replicas, for which it asks the master every 10 s, or it hung, and for 30 s does not trust
        its own clock.
        """
        names = [p["metadata"]["name"] for p in self.pods()]
        said = {n: self.cli(n, "INFO", "sentinel", port=26379) for n in names}
        fit = ("sentinel_tilt:0", f",slaves={len(names) - 1},")
        return [name for name, text in said.items() if not all(word in text for word in fit)]

    def url(self) -> str:
        (found,) = [
            s for s in self.kubectl.items("secrets", self.name) if s["metadata"]["name"].startswith("redis-client-")
        ]
        return base64.b64decode(found["data"]["REDIS_URL"]).decode()

    def whole(self, pods: int, seconds: float = 240) -> None:
        """Wait until that many pods are ready."""
        until(
            lambda: sum(map(ready, self.pods())) == pods,
            seconds,
            lambda: str([(p["metadata"]["name"], ready(p)) for p in self.pods()]),
        )


def ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def until(look: Callable[[], Any], seconds: float, but: Callable[[], str] = lambda: "it did not come true") -> Any:
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            pytest.fail(but())
        time.sleep(0.5)
    return found


@pytest.fixture
def eventually() -> Callable[..., Any]:
    return until


class Ledger:
    """The process of `ledger.py`, and what it tells."""

    def __init__(self, redis: Redis, prefix: str, timeout_ms: int = 250) -> None:
        init = processes.living(redis.cluster.state, room.INIT)
        assert init is not None
        # In the cluster's network, with this machine's files: the client library is that of the project.
        command = ["nsenter", "--target", str(init.pid), "--net", sys.executable]
        self._process = subprocess.Popen(
            [*command, str(Path(__file__).with_name("ledger.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        dns = redis.kubectl.find("service", *DNS_SERVICE)
        assert dns is not None
        given = {"url": redis.url(), "dns": dns["spec"]["clusterIP"], "prefix": prefix, "timeout_ms": timeout_ms}
        self._send(json.dumps(given))

    def ask(self, command: str) -> dict[str, Any]:
        self._send(command)
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found

    def writes_again(self, seconds: float = 60) -> None:
        """Wait until writes are acknowledged, and have been for a second."""
        before = self.ask("tell")["acknowledged"]

        def look() -> bool:
            now = self.ask("tell")
            return now["acknowledged"] > before + 50 and now["silent_s"] is not None and now["silent_s"] < 1

        until(look, seconds)

    def close(self) -> None:
        self._send("end")
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()


def stack(cluster: local.Cluster, mode: str, folder: Path) -> Iterator[Redis]:
    name = f"redis-{mode}"
    made = Redis(name, mode, cluster, Target.of(cluster).kubectl, folder / f"Pulumi.{name}.yaml")
    try:
        made.up()
        yield made
    finally:
        if not os.environ.get("HEADROOM_TEST_KEEP"):
            made.headroom("down", "--yes", "--delete-data", name)


@pytest.fixture(scope="module")
def sentinel(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    yield from stack(cluster, "sentinel", tmp_path_factory.mktemp("sentinel"))


@pytest.fixture(scope="module")
def sharded(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    yield from stack(cluster, "cluster", tmp_path_factory.mktemp("sharded"))


@pytest.fixture
def ledger(request: pytest.FixtureRequest) -> Iterator[Callable[..., Ledger]]:
    """A ledger of the test's own. Its patience is short, for a frozen master must not keep a client for long; where
    an error is the finding, a longer one keeps a busy machine out of it."""
    open_: list[Ledger] = []

    def go(redis: Redis, timeout_ms: int = 250) -> Ledger:
        made = Ledger(redis, f"{request.node.name}-{os.getpid()}-{len(open_)}-", timeout_ms)
        open_.append(made)
        made.writes_again()
        made.ask("mark")
        return made

    yield go
    for each in open_:
        each.close()
