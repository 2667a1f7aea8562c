"""Pods of one image each, in a namespace that enforces the `restricted` standard."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from headroom.local import Cluster, images
from headroom.progress import Silent

READY_SECONDS = 300


@dataclass(frozen=True)
class Namespace:
    """A namespace of the cluster, and kubectl in it."""

    name: str
    cluster: Cluster

    def kubectl(
        self, *arguments: str, stdin: str | None = None, check: bool = True
    ) -> subprocess.CompletedProcess[str]:
        command = [str(self.cluster.kubectl), "--kubeconfig", str(self.cluster.kubeconfig), "--namespace", self.name]
        done = subprocess.run([*command, *arguments], input=stdin, capture_output=True, text=True, check=False)
        assert not check or done.returncode == 0, done.stderr
        return done

    def apply(self, *objects: dict[str, Any]) -> None:
        self.kubectl(
            "apply", "--filename", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects})
        )

    def run(self, image: str, *, writable: tuple[str, ...], memory: str, cpu: str = "50m", **container: Any) -> str:
        """Start an image of ours as it is, its own health check as its readiness. Returns the pod's name.

        No user is named here: `runAsNonRoot` lets the pod start only if the image names a numeric one.
        """
        volumes = {f"writable-{number}": path for number, path in enumerate(writable)}
        mounts = [{"name": name, "mountPath": path} for name, path in volumes.items()] + container.pop("mounts", [])
        spec = {
            "automountServiceAccountToken": "serviceAccountName" in container,
            "serviceAccountName": container.pop("serviceAccountName", "default"),
            "terminationGracePeriodSeconds": 5,
            "securityContext": {"runAsNonRoot": True, "fsGroup": 999, "seccompProfile": {"type": "RuntimeDefault"}},
            "volumes": [{"name": name, "emptyDir": {}} for name in volumes] + container.pop("volumes", []),
            "containers": [
                {
                    "name": image,
                    "image": images.ref(image),
                    "imagePullPolicy": "Never",
                    "readinessProbe": {
                        "exec": {"command": ["/usr/local/bin/healthcheck"]},
                        "periodSeconds": 1,
                        "timeoutSeconds": 5,
                    },
                    "resources": {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}},
                    "securityContext": {
                        "readOnlyRootFilesystem": True,
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "volumeMounts": mounts,
                    **container,
                }
            ],
        }
        labels = {"app": image, "application": "patroni", "cluster-name": image}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": image, "labels": labels}, "spec": spec})
        return image

    def wait_until_healthy(self, pod: str) -> None:
        waited = self.kubectl("wait", "--for=condition=Ready", f"--timeout={READY_SECONDS}s", f"pod/{pod}", check=False)
        if waited.returncode:
            told = self.kubectl("describe", f"pod/{pod}").stdout + self.kubectl("logs", pod, check=False).stdout
            pytest.fail(f"{pod} did not become healthy:\n{told[-4000:]}")

    def execute(self, pod: str, *command: str) -> subprocess.CompletedProcess[str]:
        return self.kubectl("exec", pod, "--", *command, check=False)


@pytest.fixture(scope="session")
def namespace(cluster: Cluster) -> Iterator[Namespace]:
    """A namespace that admits restricted pods only, with every image on the node."""
    images.load(cluster, images.NAMES, Silent())
    made = Namespace("images", cluster)
    enforce = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    made.kubectl("delete", "namespace", made.name, "--ignore-not-found")
    made.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": made.name, "labels": enforce}})
    yield made
    made.kubectl("delete", "namespace", made.name, "--wait=false")
