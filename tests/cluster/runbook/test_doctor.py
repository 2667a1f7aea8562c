"""`headroom doctor` against a real API server with its controllers and scheduler, where no software has to run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headroom import local
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl

# Slow: each symptom is waited for as its controllers come to it.
pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NAMESPACE = "ward"
STACK = """\
config:
  headroom:environment: dev
  headroom:namespace: ward
  headroom:services:
    inference:
      preset: fastapi
      image: localhost/headroom/inference:0.1.0
      demand: { targetRps: 250, baselineRps: 250 } # 3 pods and at most 4
      profile: { rpsPerPod: 100, serviceTime: 8ms, workerThreads: 4, cpu: 250m, memory: 256Mi }
      autoscaling: { metrics: resource }
"""
# Pods on fake nodes use no CPU that could be reported, so the autoscaler is blind here, rightly.
HERE = {"metric-is-missing"}


@dataclass(frozen=True)
class Ward:
    cluster: local.Cluster
    kubectl: Kubectl
    file: Path

    def headroom(self, *args: str) -> Any:
        where = ["--stack", "ward", "--name", self.cluster.name, "--config", str(self.file)]
        return CliRunner().invoke(application(), [*args, *where])

    def doctor(self) -> list[dict[str, Any]]:
        done = self.headroom("doctor", "--format", "json")
        assert done.exit_code in (0, 1), done.output
        return list(json.loads(done.stdout)["findings"])

    def finds(self, anchor: str, seconds: float = 240) -> dict[str, Any]:
        """Ask until it is found, and nothing else that is an error."""
        deadline, said = time.monotonic() + seconds, self.doctor()
        while anchor not in {f["anchor"] for f in said}:
            assert time.monotonic() < deadline, (anchor, said)
            time.sleep(1)
            said = self.doctor()
        return next(f for f in said if f["anchor"] == anchor)

    def well(self, seconds: float = 240) -> None:
        deadline = time.monotonic() + seconds
        while said := [f for f in self.doctor() if f["anchor"] not in HERE and f["severity"] != "note"]:
            assert time.monotonic() < deadline, said
            time.sleep(1)

    def patch(self, kind: str, name: str, patch: Any, *how: str, namespaced: bool = True) -> None:
        where = ["-n", NAMESPACE] if namespaced else []
        self.kubectl.run("patch", kind, name, *where, *(how or ("--type=merge",)), "-p", json.dumps(patch))

    def apply(self, manifest: dict[str, Any]) -> None:
        self.kubectl.run("apply", "-f", "-", stdin=json.dumps(manifest))

    def up(self) -> None:
        done = self.headroom("up")
        assert done.exit_code == 0, done.output


@pytest.fixture(scope="module")
def ward(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    file = tmp_path_factory.mktemp("ward") / "Pulumi.ward.yaml"
    file.write_text(STACK)
    made = Ward(cluster, Target.of(cluster).kubectl, file)
    (only,) = made.doctor()  # before anything is deployed
    assert (only["anchor"], only["symptom"]) == ("part-is-not-deployed", "is not on this cluster")
    try:
        made.up()
        made.well()
        yield made
    finally:
        made.headroom("down", "--delete-data", NAMESPACE)


@pytest.fixture
def mended(ward: Ward) -> Iterator[Ward]:
    """The ward and its three pods; afterwards `headroom up`, as the findings advise, must have made it well."""
    # A blind autoscaler takes away none that the test before had.
    ward.kubectl.run("scale", "deployment/inference", "-n", NAMESPACE, "--replicas=3")
    ward.well()
    yield ward
    ward.up()
    ward.well()


def _small(ward: Ward, cores: str) -> Callable[[], None]:
    nodes = ward.kubectl.get("nodes")["items"]

    def give(cpu: str | None) -> None:
        for node in nodes:
            size = {"allocatable": {"cpu": cpu or node["status"]["allocatable"]["cpu"]}}
            how = ("--type=merge", "--subresource=status")
            ward.patch("node", node["metadata"]["name"], {"status": size}, *how, namespaced=False)

    give(cores)
    return lambda: give(None)


def test_nodes_without_room(mended: Ward) -> None:
    """Three nodes with a pod each, and room for no other."""
    restore = _small(mended, "300m")
    try:
        mended.patch("hpa", "inference-hpa", {"spec": {"minReplicas": 4}})
        found = mended.finds("no-room-for-a-pod")
        assert "every node is full: the pod asks for 0.25 cores" in found["because"]
        assert "the largest node gives pods 0.3 cores" in found["evidence"][1]
    finally:
        restore()


def test_nodes_that_take_no_pods(mended: Ward) -> None:
    nodes = [n["metadata"]["name"] for n in mended.kubectl.get("nodes")["items"]]
    mended.kubectl.run("cordon", *nodes)
    try:
        mended.patch("hpa", "inference-hpa", {"spec": {"minReplicas": 4}})
        found = mended.finds("no-node-fits-a-pod")
        assert found["fix"].startswith("kubectl uncordon")
    finally:
        mended.kubectl.run("uncordon", *nodes)


def test_a_quota_without_room(mended: Ward) -> None:
    mended.patch("resourcequota", "headroom-quota", {"spec": {"hard": {"pods": "3"}}})
    mended.patch("hpa", "inference-hpa", {"spec": {"minReplicas": 4}})
    found = mended.finds("quota-is-used-up")
    assert "it allows 3 pods, and the plan" in found["because"]
    assert any("pods 3 of 3" in line for line in found["evidence"])


def test_a_pod_that_is_against_the_rules(mended: Ward) -> None:
    container = {"name": "inference", "securityContext": {"allowPrivilegeEscalation": True}}
    change = {"spec": {"template": {"spec": {"containers": [container]}}}}
    mended.patch("deployment", "inference", change, "--type=strategic")
    assert "Pod Security Standard" in mended.finds("pod-is-refused")["because"]


def test_a_claim_without_a_storage_class(mended: Ward) -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "nowhere",
        "resources": {"requests": {"storage": "1Gi"}},
    }
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "spec": spec}
    mended.apply(claim | {"metadata": {"name": "extra", "namespace": NAMESPACE, "labels": {"app": "inference"}}})
    try:
        found = mended.finds("volume-is-not-provisioned")
        assert found["because"] == "there is no storage class nowhere"
    finally:
        mended.kubectl.run("delete", "pvc", "extra", "-n", NAMESPACE)


def test_a_metrics_api_that_is_gone(mended: Ward) -> None:
    name = "v1beta1.metrics.k8s.io"
    kept = mended.kubectl.get("apiservice", name)
    mended.kubectl.run("delete", "apiservice", name)
    try:
        found = mended.finds("no-metrics-api")
        assert "metrics-server" in found["fix"]
    finally:
        metadata = {k: kept["metadata"][k] for k in ("name", "labels") if k in kept["metadata"]}
        mended.apply({k: kept[k] for k in ("apiVersion", "kind", "spec")} | {"metadata": metadata})


def test_an_autoscaler_by_hand(mended: Ward) -> None:
    """Changed bounds, 0 replicas, a second owner, none at all."""
    mended.patch("hpa", "inference-hpa", {"spec": {"maxReplicas": 20}})
    assert "between 3 and 20 pods" in mended.finds("autoscaler-is-not-as-planned")["symptom"]
    mended.up()
    mended.kubectl.run("scale", "deployment/inference", "-n", NAMESPACE, "--replicas=0")
    assert mended.finds("autoscaler-is-suspended")["fix"].startswith("headroom maintenance off inference")
    mended.kubectl.run("scale", "deployment/inference", "-n", NAMESPACE, "--replicas=3")
    mended.kubectl.run("autoscale", "deployment/inference", "-n", NAMESPACE, "--name=other", "--max=9", "--cpu=50%")
    try:
        mended.finds("two-autoscalers-own-the-pods")
    finally:
        mended.kubectl.run("delete", "hpa", "other", "-n", NAMESPACE)
    mended.kubectl.run("delete", "hpa", "inference-hpa", "-n", NAMESPACE)
    mended.finds("autoscaler-is-missing")


def test_a_selector_by_hand(mended: Ward) -> None:
    mended.patch("service", "inference", {"spec": {"selector": {"version": "2"}}})
    found = mended.finds("service-selects-the-wrong-pods")
    assert "version=2" in found["evidence"][0]


def test_a_job_that_gave_up(mended: Ward) -> None:
    """It was given a second, and no node takes it."""
    container = {
        "name": "fill",
        "image": "registry.example/fill:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod = {
        "restartPolicy": "Never",
        "nodeSelector": {"nobody": "has-this"},
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [container],
    }
    job = {"apiVersion": "batch/v1", "kind": "Job", "spec": {"activeDeadlineSeconds": 1, "template": {"spec": pod}}}
    mended.apply(job | {"metadata": {"name": "fill", "namespace": NAMESPACE, "labels": {"app": "inference"}}})
    try:
        found = mended.finds("job-failed")
        assert found["because"].startswith("DeadlineExceeded")
    finally:
        mended.kubectl.run("delete", "job", "fill", "-n", NAMESPACE)


def test_a_sidecar_that_requests_nothing(mended: Ward) -> None:
    """Nothing gives it a request: the namespace's limits and quota are gone, too."""
    mended.kubectl.run("delete", "limitrange,resourcequota", "--all", "-n", NAMESPACE)
    sidecar = {
        "name": "proxy",
        "image": "registry.example/proxy:1",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    change = {"spec": {"template": {"spec": {"containers": [sidecar]}}}}
    mended.patch("deployment", "inference", change, "--type=strategic")
    try:
        found = mended.finds("no-requests-set")
        assert any("/proxy has no request of cpu" in line for line in found["evidence"])
    finally:
        # `up` leaves alone what is not its own: whoever injects a sidecar takes it away.
        gone = {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "$patch": "delete"}]}}}}
        mended.patch("deployment", "inference", gone, "--type=strategic")


def test_a_service_that_is_unknown(ward: Ward) -> None:
    done = ward.headroom("doctor", "inferense")
    assert "choose one of inference" in str(done.exception)
