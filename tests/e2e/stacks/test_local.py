"""The stack `local` on real pods: what `make up` promises."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from headroom import local
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl

pytestmark = pytest.mark.e2e

NAMESPACE = "headroom"


def headroom(cluster: local.Cluster, *args: str) -> Result:
    """A command as a person types it, in this process."""
    return CliRunner().invoke(application(), [*args, "--stack", "local", "--name", cluster.name])


@pytest.fixture(scope="module")
def stack(cluster: local.Cluster) -> Iterator[Kubectl]:
    """The stack, up; a door to its cluster."""
    done = headroom(cluster, "up")
    try:
        assert done.exit_code == 0, done.output
        yield Target.of(cluster).kubectl
    finally:
        gone = headroom(cluster, "down", "--delete-data", NAMESPACE)
    assert gone.exit_code == 0, gone.output


def until(what: Callable[[], Any], seconds: float, but: Callable[[], str]) -> Any:
    """Ask until the answer is true. Fails with the words of `but` when time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if answer := what():
            return answer
        time.sleep(1)
    pytest.fail(but())


def test_every_pod_is_ready_and_verify_passes(cluster: local.Cluster, stack: Kubectl) -> None:
    done = headroom(cluster, "verify", "--format", "json")
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert {"rollout", "endpoints", "health", "autoscaler"} <= {f["check"] for f in found}
    # The first metrics of new pods come a minute after them; the autoscaler's own test needs them.
    assert all(f["verdict"] == "pass" for f in found if f["check"] != "autoscaler"), found


def test_every_pod_is_under_the_restricted_standard(stack: Kubectl) -> None:
    """The namespace enforces it, so no other pod was let in; and every root file system is read-only."""
    labels = stack.get("namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    for pod in stack.items("pods", NAMESPACE):
        for container in pod["spec"]["containers"]:
            context = container["securityContext"]
            assert context["readOnlyRootFilesystem"], (pod["metadata"]["name"], container["name"])
            assert context["capabilities"]["drop"] == ["ALL"]


def test_network_policies_are_there(stack: Kubectl) -> None:
    names = {p["metadata"]["name"] for p in stack.items("networkpolicies", NAMESPACE)}
    assert {"default-deny", "allow-dns", "inference"} <= names


def test_a_second_up_changes_nothing(cluster: local.Cluster, stack: Kubectl) -> None:
    before = {p["metadata"]["name"] for p in stack.items("pods", NAMESPACE)}
    done = headroom(cluster, "up")
    assert done.exit_code == 0, done.output
    assert "nothing to change" in done.stdout
    assert {p["metadata"]["name"] for p in stack.items("pods", NAMESPACE)} == before


def test_the_service_answers_from_its_stores(stack: Kubectl) -> None:
    service = stack.get("service", "inference", "-n", NAMESPACE)
    with httpx.Client(base_url=f"http://{service['spec']['clusterIP']}:8080", timeout=10) as client:
        ready = client.get("/health/ready").json()
        assert ready["status"] == "ready"
        assert (ready["features"], ready["cache"]) == ("postgresql", "redis")
        assert client.post("/predict", json={"entity_id": "nobody"}).status_code == 404


def test_the_cpu_autoscaler_reads_real_metrics_and_scales_out(stack: Kubectl) -> None:
    least, most = hpa(stack)["spec"]["minReplicas"], hpa(stack)["spec"]["maxReplicas"]
    assert most > least
    with load(stack):
        until(lambda: replicas(stack) > least, 300, lambda: json.dumps(hpa(stack)["status"]))
    assert any(m["type"] == "Resource" for m in hpa(stack)["status"]["currentMetrics"])


@pytest.mark.slow
def test_and_in_again_after_its_window(stack: Kubectl) -> None:
    """The window is the plan's: 300 s."""
    least = hpa(stack)["spec"]["minReplicas"]
    with load(stack):
        until(lambda: replicas(stack) > least, 300, lambda: json.dumps(hpa(stack)["status"]))
    until(lambda: replicas(stack) == least, 480, lambda: json.dumps(hpa(stack)["status"]))


def hpa(stack: Kubectl) -> dict[str, Any]:
    return stack.get("hpa", "inference-hpa", "-n", NAMESPACE)


def replicas(stack: Kubectl) -> int:
    return int(stack.get("deployment", "inference", "-n", NAMESPACE)["spec"]["replicas"])


@contextlib.contextmanager
def load(stack: Kubectl) -> Iterator[None]:
    """Work for the CPU in every pod of the service, until its input ends: ending kubectl would leave it in the pod."""
    burn = (
        "import select, sys, time\nend = time.monotonic() + 360\n"
        "while time.monotonic() < end and not select.select([sys.stdin], [], [], 0)[0]: pass"
    )
    kubectl = [str(stack.binary), "--kubeconfig", str(stack.kubeconfig), "-n", NAMESPACE]
    pods = [p["metadata"]["name"] for p in stack.items("pods", NAMESPACE, "app=inference")]
    running = [
        subprocess.Popen(
            [*kubectl, "exec", "-i", pod, "--", "python", "-c", burn], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        for pod in pods
    ]
    try:
        yield
    finally:
        for process in running:
            process.communicate(timeout=420)


def test_logs_exec_and_status_work_with_the_clusters_own_kubeconfig(cluster: local.Cluster, stack: Kubectl) -> None:
    kubectl = [str(cluster.kubectl), "-n", NAMESPACE]
    logs = subprocess.run(
        [*kubectl, "logs", "deploy/inference", "--tail=5"], capture_output=True, text=True, check=True
    )
    assert logs.stdout
    inside = subprocess.run(
        [*kubectl, "exec", "deploy/inference", "--", "id", "-u"], capture_output=True, text=True, check=True
    )
    assert inside.stdout.strip() not in ("", "0")
    shown = CliRunner().invoke(application(), ["local", "status", "--name", cluster.name])
    assert "service     headroom/inference at " in shown.stdout
