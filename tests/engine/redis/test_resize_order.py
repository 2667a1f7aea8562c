"""What a resize of Redis and H2O does in which order, under both engines: the program itself, on fake nodes.

Fake pods have no data; real pods and their data are in tests/e2e. Here each Job ends at once, and the API server's own
times tell what came after what.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headroom import local
from headroom.engine.automation import AutomationEngine
from headroom.engine.kubectl import KubectlEngine
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.ops import deploy
from headroom.progress import Silent

pytestmark = [pytest.mark.engine, pytest.mark.cluster]

PULUMI = pytest.param(
    AutomationEngine, "by-pulumi", marks=pytest.mark.skipif(shutil.which("pulumi") is None, reason="no pulumi on PATH")
)


@pytest.fixture(scope="module")
def cluster() -> Iterator[local.Cluster]:
    name = f"test-order-{os.getpid()}"
    try:
        yield local.up(name, nodes="fake", fake_nodes=2)
    finally:
        local.down(name)


def request_of(cluster: local.Cluster, folder: Path, name: str, masters: int, nodes: int) -> deploy.Request:
    def many(setting: str, value: int) -> dict[str, Any]:
        return {"override": {setting: {"value": value, "because": "a test"}}}

    config = {
        "headroom:environment": "local",
        "headroom:namespace": name,
        "headroom:services": {},
        "headroom:redis": {"mode": "cluster", "node": {"maxmemory": "64Mi", "cpu": "25m"}, **many("masters", masters)},
        "headroom:h2o": {
            "demand": {"dataset": "200MB"},
            "node": {"memory": "2Gi", "cpu": "50m"},
            **many("nodes", nodes),
        },
    }
    file = folder / f"Pulumi.{name}.yaml"
    file.write_text(json.dumps({"config": config}))
    return deploy.Request(name, file, Target.of(cluster), cluster)


def jobs(kubectl: Kubectl, namespace: str, prefix: str) -> dict[str, dict[str, Any]]:
    found = kubectl.items("jobs", namespace)
    return {job["metadata"]["uid"]: job for job in found if job["metadata"]["name"].startswith(prefix)}


def set_changed(stateful_set: dict[str, Any]) -> str:
    """When an engine last wrote its spec; the status is written by others."""
    fields = stateful_set["metadata"]["managedFields"]
    return max(str(f["time"]) for f in fields if "f:spec" in f["fieldsV1"])


@pytest.mark.parametrize(("engine", "name"), [(KubectlEngine, "by-kubectl"), PULUMI])
def test_data_leaves_before_pods_go_and_comes_after_they_are_there(
    cluster: local.Cluster, tmp_path: Path, engine: Any, name: str
) -> None:
    kubectl = Target.of(cluster).kubectl

    def up(masters: int, nodes: int) -> None:
        engine().up(deploy.prepare(request_of(cluster, tmp_path, name, masters, nodes), Silent()), Silent())

    up(3, 2)
    for masters, nodes in ((4, 3), (3, 2)):
        before = {job for prefix in ("redis-", "h2o-") for job in jobs(kubectl, name, prefix)}
        uids = {s: kubectl.get("statefulset", s, "-n", name)["metadata"]["uid"] for s in ("redis", "h2o-cluster")}
        up(masters, nodes)
        for part, workload in (("redis", "redis"), ("h2o", "h2o-cluster")):
            found = kubectl.get("statefulset", workload, "-n", name, "--show-managed-fields")
            (drain,) = [j for uid, j in jobs(kubectl, name, f"{part}-drain-").items() if uid not in before]
            (fill,) = [j for uid, j in jobs(kubectl, name, f"{part}-fill-").items() if uid not in before]
            assert found["spec"]["replicas"] == (2 * masters if part == "redis" else nodes)
            replaced = found["metadata"]["uid"] != uids[workload]
            assert replaced == (part == "h2o"), "Redis' pods stay; H2O's cluster is another"
            changed = found["metadata"]["creationTimestamp"] if replaced else set_changed(found)
            times = [drain["status"]["completionTime"], changed, fill["metadata"]["creationTimestamp"]]
            assert times == sorted(times), (part, masters, times)
    engine().down(deploy.bare(request_of(cluster, tmp_path, name, 3, 2)), Silent(), delete_data=name)
