"""What every add-on is made of: an image with one program in it, objects, and the wait until it answers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headroom.errors import EnvironmentFailure
from headroom.local import binaries, containers
from headroom.local.kube import Api, apply
from headroom.local.model import Cluster

NAMESPACE = "monitoring"
USER_ID = 65534


def image(cluster: Cluster, program: binaries.Program, name: str, path: str) -> str:
    """Load an image that holds the built program `name` as `path`, unless the node has it; gives its name."""
    ref = f"localhost/headroom/addons/{program.name}-{name}:{binaries.digest(program)}"
    if ref not in containers.images(cluster):
        with tempfile.TemporaryDirectory(prefix="headroom-") as folder:
            files = {path: (binaries.entry(program) / name).resolve()}
            archive = containers.archive_of(Path(folder) / "image.tar", ref, files, [path])
            containers.import_image(cluster, archive, ref)
    return ref


def put(cluster: Cluster, objects: Sequence[Mapping[str, Any]]) -> None:
    """Apply objects as the owner of what is the cluster's own."""
    apply(cluster.state, cluster.kubectl, objects)


def await_deployments(cluster: Cluster, namespace: str, seconds: float = 180) -> None:
    """Wait until every Deployment of a namespace has all of its pods available."""
    api = Api(cluster.server, cluster.state)
    path = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    def ready() -> bool:
        try:
            found = api.items(path)
        except OSError:
            return False
        return bool(found) and all(
            item["status"].get("observedGeneration") == item["metadata"]["generation"]
            and item["status"].get("updatedReplicas", 0) == item["spec"]["replicas"]
            and item["status"].get("availableReplicas", 0) == item["spec"]["replicas"]
            for item in found
        )

    wait(ready, f"the add-ons in namespace {namespace} are not ready", f"kubectl get pods -n {namespace}", seconds)


def wait(ready: Callable[[], bool], what: str, fix: str, seconds: float = 60) -> None:
    """Wait. Raises EnvironmentFailure with what did not come true."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise EnvironmentFailure(f"{what} after {seconds:.0f} s", fix=fix)
        time.sleep(0.2)


def namespace() -> dict[str, Any]:
    """The namespace of monitoring, under the same standard as the stacks' own."""
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def account(name: str, rules: Sequence[Mapping[str, Any]], *cluster_roles: str) -> list[dict[str, Any]]:
    """A service account with a ClusterRole of these rules, bound to it and to roles that the cluster has already."""
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": name, "namespace": NAMESPACE}
    found: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": NAMESPACE}},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRole",
            "metadata": {"name": f"headroom-{name}"},
            "rules": list(rules),
        },
    ]
    for role in (f"headroom-{name}", *cluster_roles):
        found.append(
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"headroom-{name}-{role.replace(':', '-')}"},
                "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
                "subjects": [subject],
            }
        )
    return found


def pod_security() -> dict[str, Any]:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER_ID,
        "runAsGroup": USER_ID,
        "fsGroup": USER_ID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
