"""What somebody deleted or scaled by hand is as the stack says after the next `up`. Skipped where there is no CLI."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from headroom import local
from headroom.engine.automation import AutomationEngine
from headroom.engine.model import Deployment, Target
from headroom.progress import Silent

pytestmark = [
    pytest.mark.engine,
    pytest.mark.cluster,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="no pulumi on PATH"),
]

# As the components make theirs.
PROGRAM = """
import pulumi
from components.objects import KubernetesObject
from components.stack import cluster
from pulumi import ResourceOptions as Options

config = pulumi.Config()
NS, to = config.require("namespace"), Options(provider=cluster())
def made(name, version, kind, body, *after, **more):
    place = {} if kind == "Namespace" else {"namespace": NS}
    opts = Options.merge(to, Options(depends_on=list(after), **more))
    return KubernetesObject(name, version, kind, {"name": NS if kind == "Namespace" else name, **place}, body, opts)

ns = made("ns", "v1", "Namespace", {}, retain_on_delete=True)
settings = made("settings", "v1", "ConfigMap", {"data": {"a": "1"}}, ns)
labels = {"app": "web"}
pod = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "example/x"}]}}
web = {"replicas": config.require_int("replicas"), "selector": {"matchLabels": labels}, "template": pod}
made("web", "apps/v1", "Deployment", {"spec": web}, settings)
pulumi.export("namespace", NS)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[local.Cluster]:
    name = f"test-by-hand-{os.getpid()}"
    try:
        yield local.up(name, nodes="fake", fake_nodes=1)
    finally:
        local.down(name)


def deployment(folder: Path, cluster: local.Cluster, replicas: int) -> Deployment:
    (folder / "Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
    (folder / "__main__.py").write_text(PROGRAM)
    config = {"headroom:namespace": "by-hand", "headroom:replicas": replicas}
    (folder / "Pulumi.one.yaml").write_text(json.dumps({"config": config}))
    return Deployment(folder, "one", Target.of(cluster))


def test_what_was_deleted_or_scaled_by_hand(cluster: local.Cluster, tmp_path: Path) -> None:
    engine, kubectl = AutomationEngine(), Target.of(cluster).kubectl
    made = deployment(tmp_path, cluster, 1)
    engine.up(made, Silent())

    kubectl.run("delete", "configmap", "settings", "-n", "by-hand")
    assert [(c.action, c.name) for c in engine.preview(made, Silent()).items if c.action != "unchanged"] == [
        ("create", "settings")
    ]
    assert [c.name for c in engine.up(made, Silent()).changes.of("create")] == ["settings"]
    assert kubectl.find("configmap", "settings", "by-hand")["data"] == {"a": "1"}  # type: ignore[index]
    assert engine.up(made, Silent()).changes.empty

    kubectl.run("scale", "deployment/web", "--replicas=3", "-n", "by-hand")
    engine.up(deployment(tmp_path, cluster, 2), Silent())
    assert kubectl.find("deployment", "web", "by-hand")["spec"]["replicas"] == 2  # type: ignore[index]
    engine.down(deployment(tmp_path, cluster, 2), Silent(), delete_data="by-hand")
