"""A Redis Cluster with a gap among its slots, and one that is full, on real pods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from headroom import local
from headroom.cli.main import application
from headroom.engine.model import Target

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NAMESPACE = "gap"


def test_a_slot_that_nobody_serves_and_memory_that_is_full(cluster: local.Cluster, tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.gap.yaml"
    redis: dict[str, Any] = {
        "mode": "cluster",
        "demand": {"dataset": "40MB", "opsPerSecond": 1000},
        "node": {"maxmemory": "64Mi", "opsPerSecond": 10000, "cpu": "25m", "limits": {"cpu": "1"}},
        "replicasPerMaster": 0,
        "maxmemoryPolicy": "noeviction",
    }
    config = {"headroom:environment": "local", "headroom:namespace": NAMESPACE, "headroom:redis": redis}
    file.write_text(yaml.safe_dump({"config": config}))
    kubectl = Target.of(cluster).kubectl

    def headroom(*args: str) -> Any:
        where = ["--stack", NAMESPACE, "--name", cluster.name, "--config", str(file)]
        return CliRunner().invoke(application(), [*args, *where])

    def doctor() -> list[dict[str, Any]]:
        return list(json.loads(headroom("doctor", "--format", "json").stdout)["findings"])

    def cli(pod: str, *words: str) -> str:
        script = 'REDISCLI_AUTH=$(cat /etc/redis-auth/redisAdmin) exec redis-cli --user admin "$@"'
        command = ["exec", "-n", NAMESPACE, pod, "-c", "redis", "--", "sh", "-c", script, "sh", *words]
        return kubectl.run(*command, timeout=30).stdout.strip()

    up = headroom("up", "--yes")
    try:
        assert up.exit_code == 0, up.output
        assert doctor() == []
        slots = [line.split() for line in cli("redis-0", "CLUSTER", "NODES").splitlines()]
        owner = next(line for line in slots if any(part.startswith("0-") for part in line[8:]))
        pod = owner[1].partition(",")[2].partition(".")[0] or "redis-0"
        assert cli(pod, "CLUSTER", "DELSLOTS", "0") == "OK"
        found = next(f for f in doctor() if f["anchor"] == "slots-are-missing")
        assert "serves 16,383 of 16,384 slots" in found["symptom"]
        assert cli(pod, "CLUSTER", "ADDSLOTS", "0") == "OK"

        def full() -> bool:
            info = dict(line.split(":", 1) for line in cli("redis-0", "INFO", "memory").split() if ":" in line)
            return int(info["used_memory"]) > 0.92 * int(info["maxmemory"])

        tag = next(t for n in range(100) if cli("redis-0", "SET", t := f"{{{n}}}", "here") == "OK")
        for n in range(100):
            if full():
                break
            cli("redis-0", "SETRANGE", f"{tag}{n}", str(2**20), "x")
        found = next(f for f in doctor() if f["anchor"] == "redis-is-full")
        assert "redis-0 uses 9" in found["symptom"]
    finally:
        headroom("down", "--delete-data", NAMESPACE)
