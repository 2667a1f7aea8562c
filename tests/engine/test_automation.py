"""The Pulumi engine with the real CLI, on the embedded cluster. Skipped where there is no CLI."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from headroom import local
from headroom.engine import record
from headroom.engine.automation import AutomationEngine
from headroom.engine.kubectl import KubectlEngine
from headroom.engine.model import Deployment, Target
from headroom.engine.record import Record
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
cluster = k8s.Provider("cluster", kubeconfig=settings.get("kubeconfig"), context=settings.get("context"),
    upsert_existing_objects=True)
NS = config.require("namespace")
ns = k8s.core.v1.Namespace("ns", metadata={"name": NS}, opts=Options(provider=cluster, retain_on_delete=True))
k8s.core.v1.Secret("secret", metadata={"name": "secret", "namespace": NS},
    string_data={"p": config.require_secret_object("secrets")["app"]}, opts=Options(provider=cluster, depends_on=[ns]))
def kept(name, notes):
    return {"name": name, "namespace": NS, "annotations": {"pulumi.com/patchForce": "true", **notes}}
k8s.core.v1.PersistentVolumeClaim("claim", metadata=kept("data", {"pulumi.com/skipAwait": "true"}), spec={
    "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    opts=Options(provider=cluster, retain_on_delete=True, depends_on=[ns]))
k8s.core.v1.ConfigMap("guard", metadata=kept("guard", {"headroom.dev/fixed-because": "shards hold data"}),
    immutable=True, data={"shards": str(config.get_int("shards") or 2)},
    opts=Options(provider=cluster, retain_on_delete=True, depends_on=[ns]))
k8s.apps.v1.Deployment("web", metadata={"name": "web", "namespace": NS}, spec={
    "replicas": config.require_int("replicas"), "selector": {"matchLabels": {"app": "web"}},
    "template": {"metadata": {"labels": {"app": "web"}},
                 "spec": {"containers": [{"name": "main", "image": "example/x"}]}}},
    opts=Options(provider=cluster, depends_on=[ns]))
pulumi.export("namespace", NS)
"""

# As the components make theirs.
FAILS_UNTIL_A_NODE_IS_LABELLED = """
import pulumi
from components.objects import KubernetesObject
from components.stack import cluster
from pulumi import ResourceOptions as Options

NS, to = pulumi.Config().require("namespace"), Options(provider=cluster())
def made(name, version, kind, body, *after, **more):
    place = {} if kind == "Namespace" else {"namespace": NS}
    opts = Options.merge(to, Options(depends_on=list(after), **more))
    return KubernetesObject(name, version, kind, {"name": NS if kind == "Namespace" else name, **place}, body, opts)

ns = made("ns", "v1", "Namespace", {}, retain_on_delete=True)
pod = {"restartPolicy": "Never", "nodeSelector": {"for": NS}, "containers": [{"name": "main", "image": "example/x"}]}
job = made("j", "batch/v1", "Job", {"spec": {"activeDeadlineSeconds": 8, "template": {"spec": pod}}}, ns)
made("later", "v1", "ConfigMap", {"data": {}}, job)
pulumi.export("namespace", NS)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[local.Cluster]:
    name = f"test-engine-{os.getpid()}"
    try:
        yield local.up(name, nodes="fake", fake_nodes=1)
    finally:
        local.down(name)


def deployment(
    folder: Path, cluster: local.Cluster, replicas: int, namespace: str = "by-pulumi", shards: int = 2
) -> Deployment:
    (folder / "Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
    (folder / "__main__.py").write_text(textwrap.dedent(PROGRAM))
    file = folder / "Pulumi.one.yaml"
    config = {"headroom:namespace": namespace, "headroom:replicas": replicas, "headroom:shards": shards}
    file.write_text(json.dumps({"config": config}))
    return Deployment(folder, "one", Target.of(cluster), secrets={"headroom:secrets": {"app": "hunter2"}})


def test_a_life_of_a_stack(cluster: local.Cluster, tmp_path: Path) -> None:
    engine, kubectl = AutomationEngine(), Target.of(cluster).kubectl
    first = deployment(tmp_path, cluster, 1)
    assert engine.preview(first, Silent()).count() == {"create": 5}
    assert kubectl.run("get", "ns", "by-pulumi", "--ignore-not-found").stdout == ""

    assert engine.up(first, Silent()).changes.count() == {"create": 5}
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
    assert kept == ("configmap/guard in by-pulumi", "namespace/by-pulumi", "persistentvolumeclaim/data in by-pulumi")
    volume = kubectl.find("pvc", "data", "by-pulumi")["metadata"]["uid"]  # type: ignore[index]

    record.write(kubectl, Record("one", "by-pulumi", ()))
    with pytest.raises(InputError, match="held by the kubectl engine"):
        engine.up(resized, Silent())
    record.remove(kubectl, Record("one", "by-pulumi", ()))

    # Another life takes up what the last one left, whoever has touched it in between.
    kubectl.run("annotate", "pvc", "data", "-n", "by-pulumi", "--overwrite", "pulumi.com/skipAwait=false")
    engine.up(resized, Silent())
    assert kubectl.find("pvc", "data", "by-pulumi")["metadata"]["uid"] == volume  # type: ignore[index]
    assert engine.preview(resized, Silent()).empty

    for refused in (KubectlEngine().preview, KubectlEngine().down):
        with pytest.raises(InputError, match="held by Pulumi, which made deployment/web"):
            refused(resized, Silent())

    resharded = deployment(tmp_path, cluster, 2, shards=3)
    for forbidden in (engine.preview, engine.up):
        with pytest.raises(InputError, match="configmap/guard in by-pulumi: shards hold data"):
            forbidden(resharded, Silent())
    resized = deployment(tmp_path, cluster, 2)
    engine.down(resized, Silent())
    engine.down(resized, Silent(), delete_data="by-pulumi")
    assert kubectl.run("get", "ns", "by-pulumi", "--ignore-not-found").stdout == ""


def test_the_lock_of_a_killed_run_is_taken_off(cluster: local.Cluster, tmp_path: Path) -> None:
    made = deployment(tmp_path, cluster, 1, namespace="locked")
    AutomationEngine().preview(made, Silent())
    locks = cluster.state / "pulumi" / "backend" / ".pulumi" / "locks" / "organization" / "headroom" / "one"
    locks.mkdir(parents=True, exist_ok=True)
    held = locks / "of-another.json"

    def hold(pid: int) -> None:
        content = {"pid": pid, "username": "me", "hostname": socket.gethostname(), "timestamp": "2026-01-01T00:00:00Z"}
        held.write_text(json.dumps(content))

    hold(os.getpid())
    with pytest.raises(EnvironmentFailure, match="another update of stack one is running") as refused:
        AutomationEngine().down(made, Silent())
    assert "pulumi cancel --yes --stack one --cwd " in refused.value.fix
    hold(gone())
    AutomationEngine().down(made, Silent())
    assert not held.exists()


def test_a_job_that_failed_is_tried_again_by_the_next_up(cluster: local.Cluster, tmp_path: Path) -> None:
    made, kubectl = deployment(tmp_path, cluster, 1, namespace="tried-again"), Target.of(cluster).kubectl
    (tmp_path / "__main__.py").write_text(FAILS_UNTIL_A_NODE_IS_LABELLED)
    made = replace(made, secrets={})
    with pytest.raises(EnvironmentFailure, match="DeadlineExceeded"):
        AutomationEngine().up(made, Silent())
    failed = kubectl.find("job", "j", "tried-again")["metadata"]["uid"]  # type: ignore[index]
    kubectl.run("label", "node", "fake-0", "for=tried-again")
    changes = AutomationEngine().up(made, Silent()).changes
    assert [c.name for c in changes.of("replace")] == ["j"]
    assert kubectl.find("job", "j", "tried-again")["metadata"]["uid"] != failed  # type: ignore[index]
    assert kubectl.find("configmap", "later", "tried-again") is not None
    assert AutomationEngine().up(made, Silent()).changes.empty
    AutomationEngine().down(made, Silent(), delete_data="tried-again")


def gone() -> int:
    """The id of a process that has ended."""
    with subprocess.Popen(["true"]) as process:
        pass
    return process.pid


def test_a_stack_of_a_named_cluster_must_exist(
    cluster: local.Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = deployment(tmp_path, cluster, 1)
    target = replace(made.target, embedded=False)
    monkeypatch.setenv("PULUMI_BACKEND_URL", f"file://{tmp_path}")
    with pytest.raises(EnvironmentFailure, match="no stack one"):
        AutomationEngine().preview(replace(made, target=target), Silent())
