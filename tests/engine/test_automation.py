"""The Pulumi engine with the real CLI, on the embedded cluster. Skipped where there is no CLI."""

from __future__ import annotations

import json
import os
import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headroom import local
from headroom.engine.automation import AutomationEngine
from headroom.engine.model import Deployment, Target
from headroom.errors import EnvironmentFailure, InputError
from headroom.progress import Silent

pytestmark = [
    pytest.mark.engine,
    pytest.mark.cluster,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="no pulumi on PATH"),
]

PROGRAM = """
import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions as Options

config, settings = pulumi.Config(), pulumi.Config("kubernetes")
cluster = k8s.Provider("cluster", kubeconfig=settings.get("kubeconfig"), context=settings.get("context"))
NS = config.require("namespace")
ns = k8s.core.v1.Namespace("ns", metadata={"name": NS}, opts=Options(provider=cluster, retain_on_delete=True))
k8s.core.v1.Secret("secret", metadata={"name": "secret", "namespace": NS},
    string_data={"p": config.require_secret_object("secrets")["app"]}, opts=Options(provider=cluster, depends_on=[ns]))
k8s.apps.v1.Deployment("web", metadata={"name": "web", "namespace": NS}, spec={
    "replicas": config.require_int("replicas"), "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}},
                 "spec": {"containers": [{"name": "main", "image": "example/x"}]}}},
    opts=Options(provider=cluster, depends_on=[ns]))
pulumi.export("namespace", NS)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[local.Cluster]:
    name = f"test-engine-{os.getpid()}"
    try:
        yield local.up(name, nodes="fake", fake_nodes=1)
    finally:
        local.down(name)


def deployment(folder: Path, cluster: local.Cluster, replicas: int, namespace: str = "by-pulumi") -> Deployment:
    (folder / "Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
    (folder / "__main__.py").write_text(textwrap.dedent(PROGRAM))
    file = folder / "Pulumi.one.yaml"
    file.write_text(json.dumps({"config": {"headroom:namespace": namespace, "headroom:replicas": replicas}}))
    return Deployment(folder, "one", Target.of(cluster), secrets={"headroom:secrets": {"app": "hunter2"}})


def test_a_life_of_a_stack(cluster: local.Cluster, tmp_path: Path) -> None:
    engine, kubectl = AutomationEngine(), Target.of(cluster).kubectl
    first = deployment(tmp_path, cluster, 1)
    assert engine.preview(first, Silent()).count() == {"create": 3}
    assert kubectl.run("get", "ns", "by-pulumi", "--ignore-not-found").stdout == ""

    assert engine.up(first, Silent()).changes.count() == {"create": 3}
    assert engine.up(first, Silent()).changes.empty

    resized = deployment(tmp_path, cluster, 2)
    changes = engine.preview(resized, Silent())
    assert [(c.name, [f.path for f in c.fields]) for c in changes.of("update")] == [("web", ["spec.replicas"])]
    engine.up(resized, Silent())
    assert kubectl.find("deployment", "web", "by-pulumi")["spec"]["replicas"] == 2  # type: ignore[index]
    assert engine.refresh(resized, Silent()).empty

    with pytest.raises(InputError, match="lives in namespace by-pulumi"):
        engine.up(deployment(tmp_path, cluster, 2, namespace="elsewhere"), Silent())
    resized = deployment(tmp_path, cluster, 2)

    workspace = cluster.state / "pulumi"
    assert not [p for p in workspace.rglob("*") if p.is_file() and b"hunter2" in p.read_bytes()]
    kept = engine.down(resized, Silent()).kept
    assert kept == ("namespace/by-pulumi",)
    engine.down(resized, Silent(), delete_data="by-pulumi")
    assert kubectl.run("get", "ns", "by-pulumi", "--ignore-not-found").stdout == ""


def test_a_stack_of_a_named_cluster_must_exist(
    cluster: local.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = deployment(tmp_path, cluster, 1)
    target = replace(made.target, embedded=False)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    with pytest.raises(EnvironmentFailure, match="no stack one"):
        AutomationEngine().preview(replace(made, target=target), Silent())
