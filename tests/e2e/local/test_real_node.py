"""The real node, with pods under the restricted standard: names, volumes, services, logs, exec, metrics, faults."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from headroom import local
from headroom.local import faults

pytestmark = pytest.mark.e2e

Kubectl = Callable[..., str]
NAMESPACE = "local-e2e"


def pod(name: str, image: str, *args: str, claim: str = "") -> dict[str, Any]:
    container: dict[str, Any] = {
        "name": "toolbox",
        "image": image,
        "imagePullPolicy": "Never",
        "args": list(args),
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 1000,
            "fsGroup": 1000,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
    }
    if claim:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"app": name}},
        "spec": spec,
    }


def service(name: str, *, headless: bool) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"app": "server"},
            "ports": [{"name": "http", "port": 80 if not headless else 8080, "targetPort": 8080}],
            **({"clusterIP": "None"} if headless else {}),
        },
    }


@pytest.fixture(scope="module")
def namespace(cluster: local.Cluster, kubectl: Kubectl, image: str) -> Iterator[str]:
    """A namespace that enforces the restricted standard, with a server, a client, and a Service of each kind."""
    enforced = {"pod-security.kubernetes.io/enforce": "restricted"}
    items: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": enforced}},
        pod("server", image, "serve"),
        pod("client", image, "serve"),
        service("web", headless=False),
        service("members", headless=True),
    ]
    kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", "pod", "--all", "--timeout=90s")
    yield NAMESPACE
    kubectl("delete", "namespace", NAMESPACE, "--timeout=90s")


@pytest.fixture
def inside(kubectl: Kubectl, namespace: str) -> Callable[..., str]:
    """Run a command of the toolbox inside of the client's pod."""
    return lambda *command: kubectl("exec", "-n", namespace, "client", "--", "/toolbox", *command)


def eventually(check: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Wait for what takes its time; fails with what did not come."""
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.2)


def address(kubectl: Kubectl, kind: str, name: str, path: str) -> str:
    return kubectl("get", "-n", NAMESPACE, kind, name, "-o", f"jsonpath={{{path}}}")


def test_node_is_ready_and_status_tells_it(cluster: local.Cluster, namespace: str) -> None:
    seen = local.status(cluster.name)
    assert [(node.name, node.ready, node.fake) for node in seen.nodes] == [("node-0", True, False)]
    assert {pod.name for pod in seen.pods if pod.namespace == namespace and pod.ready} == {"server", "client"}
    assert not seen.stopped
    assert next(item.reach for item in seen.services if item.name == "web").endswith(":80")


def test_names_resolve_in_pods(kubectl: Kubectl, inside: Callable[..., str]) -> None:
    web = address(kubectl, "service", "web", ".spec.clusterIP")
    server = address(kubectl, "pod", "server", ".status.podIP")
    assert inside("lookup", "web").split() == [web]
    assert inside("lookup", f"members.{NAMESPACE}.svc.cluster.local").split() == [server]
    assert inside("lookup", "kubernetes.default").split()
    port, host = inside("srv", "http", f"members.{NAMESPACE}.svc.cluster.local").split()
    assert port == "8080"
    assert inside("lookup", host.rstrip(".")).split() == [server]


def test_service_traffic_reaches_the_pod_and_keeps_the_clients_address(
    kubectl: Kubectl, inside: Callable[..., str]
) -> None:
    client = address(kubectl, "pod", "client", ".status.podIP")
    assert inside("get", "http://web/").startswith(f"server asked by {client}:")


def test_service_answers_to_its_own_pod(kubectl: Kubectl, namespace: str) -> None:
    assert kubectl("exec", "-n", namespace, "server", "--", "/toolbox", "get", "http://web/").startswith("server")


def test_this_machine_reaches_services(cluster: local.Cluster, namespace: str) -> None:
    reach = next(item.reach for item in local.status(cluster.name).services if item.name == "web")
    with urllib.request.urlopen(f"http://{reach}/", timeout=10) as answer:
        assert answer.read().startswith(b"server asked by ")


def test_claim_is_bound_writable_and_grows(kubectl: Kubectl, namespace: str, image: str) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    writer = pod("writer", image, "write", "/data/line", "hello", claim="data")
    writer["spec"]["restartPolicy"] = "Never"
    items = {"apiVersion": "v1", "kind": "List", "items": [claim, writer]}
    kubectl("apply", "-f", "-", stdin=json.dumps(items))
    kubectl("wait", "-n", namespace, "--for=jsonpath={.status.phase}=Succeeded", "pod/writer", "--timeout=60s")
    assert kubectl("logs", "-n", namespace, "writer") == "hello as 1000\n"
    kubectl("patch", "pvc", "data", "-n", namespace, "-p", '{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}')
    kubectl("wait", "-n", namespace, "--for=jsonpath={.status.capacity.storage}=2Gi", "pvc/data", "--timeout=30s")


def test_logs(kubectl: Kubectl, namespace: str) -> None:
    assert kubectl("logs", "-n", namespace, "server") == "serving as server\n"


def test_port_forward(cluster: local.Cluster, namespace: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    command = [str(cluster.kubectl), "--kubeconfig", str(cluster.kubeconfig)]
    forward = subprocess.Popen(
        [*command, "port-forward", "-n", namespace, "pod/server", f"{port}:8080"], stdout=subprocess.PIPE
    )
    try:
        assert forward.stdout is not None
        assert b"Forwarding" in forward.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read().startswith(b"server asked by ")
    finally:
        forward.kill()
        forward.wait()


def test_metrics_are_real(kubectl: Kubectl, namespace: str) -> None:
    def measured() -> bool:
        with contextlib.suppress(AssertionError):
            return "server" in kubectl("top", "pods", "-n", namespace, "--no-headers")
        return False

    eventually(measured, "metrics of the server's pod", 90)


def test_frozen_pod_does_not_answer_until_thawed(
    cluster: local.Cluster, inside: Callable[..., str], namespace: str
) -> None:
    with faults.frozen(cluster, namespace, "server"), pytest.raises(AssertionError):
        inside("get", "http://web/")
    assert inside("get", "http://web/").startswith("server")


def test_cut_pod_is_unreachable_until_mended(
    cluster: local.Cluster, inside: Callable[..., str], namespace: str
) -> None:
    with faults.cut_off(cluster, namespace, "server"), pytest.raises(AssertionError):
        inside("get", "http://web/")
    assert inside("get", "http://web/").startswith("server")


def test_killed_pod_is_restarted(cluster: local.Cluster, kubectl: Kubectl, namespace: str) -> None:
    assert faults.kill(cluster, namespace, "server") == 1
    restarts = ".status.containerStatuses[0].restartCount"
    eventually(lambda: address(kubectl, "pod", "server", restarts) == "1", "a restart of the server")
    kubectl("wait", "-n", namespace, "--for=condition=Ready", "pod/server", "--timeout=60s")


@pytest.mark.parametrize("part", ["kubelet", "containerd"])
def test_pods_survive_a_restart_of_the_node_s_processes(
    part: str, cluster: local.Cluster, kubectl: Kubectl, inside: Callable[..., str], namespace: str
) -> None:
    before = address(kubectl, "pod", "client", ".status.containerStatuses[0].containerID")
    faults.restart(cluster, part)  # type: ignore[arg-type]

    def answers() -> bool:
        with contextlib.suppress(AssertionError):
            return inside("get", "http://web/").startswith("server")
        return False

    eventually(answers, "an answer after the restart")
    assert address(kubectl, "pod", "client", ".status.containerStatuses[0].containerID") == before
