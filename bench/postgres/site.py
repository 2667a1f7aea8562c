"""A small stack of two shards on a cluster with real pods, and what measuring and breaking it takes."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headroom import local
from headroom.engine.kubectl import KubectlEngine
from headroom.engine.model import Result, Target
from headroom.kubectl import Kubectl
from headroom.ops import deploy
from headroom.progress import Progress, Silent
from inference.shards import BucketMap

STACK = "pg"
NAMESPACE = "pg"
CONFIG: dict[str, Any] = {
    "headroom:environment": "local",
    "headroom:namespace": NAMESPACE,
    "headroom:postgres": {
        "demand": {"dataset": "1GB", "writesPerSecond": 100},
        "shard": {
            "capacity": "600MB",
            "writesPerSecond": 1000,
            "cpu": "50m",
            "memory": "512Mi",
            "limits": {"cpu": "2", "memory": "3Gi"},  # 500 connections without a pooler take that much
        },
        "replicationFactor": 2,
        "maxConnections": 100,
        "override": {"volumeSize": {"value": "2Gi", "because": "room for what a benchmark writes"}},
    },
    # The exporter and the console are clients, too: room for a thousand others.
    "headroom:pgbouncer": {"cpu": "25m", "memory": "64Mi", "limits": {"cpu": "2"}, "maxClientConn": 1010},
}


@dataclass(frozen=True)
class Site:
    """The stack on a cluster. `folder` is for its stack files."""

    cluster: local.Cluster
    folder: Path

    def request(self, config: dict[str, Any] | None = None) -> deploy.Request:
        """The stack as `config` has it."""
        file = self.folder / f"Pulumi.{STACK}.yaml"
        file.write_text(json.dumps({"config": config or CONFIG}))  # JSON is YAML
        return deploy.Request(STACK, file, Target.of(self.cluster), self.cluster)

    def up(self, config: dict[str, Any] | None = None, progress: Progress | None = None) -> Result:
        """Deploy it, or a change of it."""
        quiet = progress or Silent()
        return KubectlEngine(timeout=300).up(deploy.prepare(self.request(config), quiet), quiet)

    def down(self, *, keep_data: bool = False) -> None:
        """Remove it, with its data unless that is kept."""
        data = None if keep_data else NAMESPACE
        KubectlEngine(timeout=300).down(deploy.bare(self.request()), Silent(), delete_data=data)

    @property
    def kubectl(self) -> Kubectl:
        return Target.of(self.cluster).kubectl

    def password(self, name: str = "postgresApp") -> str:
        data = self.kubectl.get("secret", "postgres-passwords", "-n", NAMESPACE)["data"]
        return base64.b64decode(data[name]).decode()

    def map(self) -> BucketMap:
        return BucketMap.parse(self.kubectl.get("configmap", "shard-map", "-n", NAMESPACE)["data"]["map.json"])

    def host(self, service: str = "pgbouncer") -> str:
        """A Service's address, which this machine can reach."""
        return str(self.kubectl.get("service", service, "-n", NAMESPACE)["spec"]["clusterIP"])

    def address(self) -> str:
        """Where clients connect, with the services' role."""
        return f"postgresql://features:{self.password()}@{self.host()}:6432/features"

    def direct(self, shard: int) -> str:
        """The primary itself, without PgBouncer."""
        return f"postgresql://features:{self.password()}@{self.host(f'pg-shard-{shard}')}:5432/features?sslmode=require"

    def leader(self, shard: int) -> str | None:
        """The pod that holds the shard's lock, by what Patroni wrote last."""
        found = self.kubectl.get("configmap", f"pg-shard-{shard}-leader", "-n", NAMESPACE)
        return (found["metadata"].get("annotations") or {}).get("leader")

    def sync(self, shard: int) -> str | None:
        """The standby that holds every acknowledged commit."""
        found = self.kubectl.get("configmap", f"pg-shard-{shard}-sync", "-n", NAMESPACE)
        return (found["metadata"].get("annotations") or {}).get("sync_standby")

    def other(self, shard: int, pod: str) -> str:
        return f"pg-shard-{shard}-{1 - int(pod[-1])}"

    def pod(self, name: str) -> dict[str, Any] | None:
        return self.kubectl.find("pod", name, NAMESPACE)

    def sql(self, pod: str, statement: str, database: str = "features") -> str:
        """A statement inside a pod, as the superuser, by the pod's own socket."""
        command = ["psql", "-U", "postgres", "-d", database, "-XAtqc", statement]
        return self.kubectl.run("exec", "-n", NAMESPACE, pod, "-c", "postgres", "--", *command).stdout.strip()

    def patronictl(self, pod: str, *args: str) -> str:
        command = ["patronictl", "-c", "/run/headroom/patroni.yaml", *args]
        return self.kubectl.run("exec", "-n", NAMESPACE, pod, "-c", "postgres", "--", *command).stdout

    def healthy(self, shard: int) -> bool:
        """A leader that is ready, and a standby that is its synchronous one."""
        leader = self.leader(shard)
        if leader is None or self.sync(shard) != self.other(shard, leader):
            return False
        pods = [self.pod(f"pg-shard-{shard}-{n}") for n in (0, 1)]
        return all(p is not None and ready(p) for p in pods)

    def settle(self, shard: int, seconds: float = 120) -> float:
        """Wait until the shard is healthy; how long that took."""
        return until(lambda: self.healthy(shard), seconds, f"shard {shard} healthy")


def ready(pod: dict[str, Any]) -> bool:
    """Whether a pod is Ready and stays."""
    conditions = pod.get("status", {}).get("conditions") or []
    return "deletionTimestamp" not in pod["metadata"] and any(
        c["type"] == "Ready" and c["status"] == "True" for c in conditions
    )


def until(true: Callable[[], bool], seconds: float, what: str) -> float:
    """Poll until it is so; returns the seconds that took. Raises TimeoutError."""
    started = time.monotonic()
    while not true():
        if time.monotonic() - started > seconds:
            raise TimeoutError(f"not {what} within {seconds:.0f} s")
        time.sleep(0.3)
    return time.monotonic() - started


def delete_pod(site: Site, pod: str, grace: int | None = None) -> None:
    """Ask for a pod's deletion, without waiting."""
    command = ["delete", "pod", pod, "-n", NAMESPACE, "--wait=false"]
    site.kubectl.run(*command, *([f"--grace-period={grace}"] if grace is not None else []))


def run(*command: str) -> str:
    """A program's output."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
