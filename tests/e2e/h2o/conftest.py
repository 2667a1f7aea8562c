"""A stack of nothing but a small H2O cluster, and a pod beside it with H2O's own Python client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from headroom import local
from headroom.capacity import demand
from headroom.capacity.plan import make
from headroom.engine.kubectl import KubectlEngine
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.local import images
from headroom.ops import deploy
from headroom.ops.verify import Finding, Scene, run
from headroom.progress import Silent

NAMESPACE = "h2o-test"
STACK = "local"
SECONDS = 600
PREAMBLE = """
import json, sys, h2o
h2o.connect(url="http://h2o:54321", auth=("h2o", open("/etc/h2o/login/h2oUi").read().strip()), verbose=False,
            strict_version_check=False)
h2o.no_progress()
"""


def until(what: str, holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """The first true answer; fails with `what` when none comes."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"not within {seconds} s: {what}")


@dataclass(frozen=True)
class Site:
    """The cluster and the stack file's folder."""

    cluster: local.Cluster
    kubectl: Kubectl
    folder: Path

    def config(self, nodes: int = 2, **h2o: Any) -> dict[str, Any]:
        small = {"memory": "2Gi", "cpu": "50m", "limits": {"cpu": "1"}}
        override = {"nodes": {"value": nodes, "because": "the test's size"}}
        return {
            "headroom:environment": "local",
            "headroom:namespace": NAMESPACE,
            "headroom:services": {},
            "headroom:images": {"h2o": "localhost/headroom/h2o:0.1.0"},
            "headroom:h2o": {"demand": {"dataset": "200MB"}, "node": small, "override": override, **h2o},
        }

    def request(self, **settings: Any) -> deploy.Request:
        file = self.folder / f"Pulumi.{STACK}.yaml"
        file.write_text(yaml.safe_dump({"config": self.config(**settings)}))
        return deploy.Request(STACK, file, Target.of(self.cluster), self.cluster)

    def up(self, **settings: Any) -> Any:
        return KubectlEngine(timeout=SECONDS).up(deploy.prepare(self.request(**settings), Silent()), Silent())

    def preview(self, **settings: Any) -> Any:
        return KubectlEngine().preview(deploy.prepare(self.request(**settings), Silent()), Silent())

    def down(self) -> None:
        KubectlEngine(timeout=SECONDS).down(deploy.bare(self.request()), Silent(), delete_data=NAMESPACE)

    def verify(self, **settings: Any) -> list[Finding]:
        plan = make(demand.load(STACK, self.request(**settings).file))
        return list(run(Scene(plan, self.kubectl, real_pods=True)))

    def client(self, script: str, *, timeout: float = SECONDS) -> Any:
        """Run a script with H2O's official client, connected to the Service; gives the JSON of its last line."""
        done = self.kubectl.run(
            *("exec", "-i", "-n", NAMESPACE, "h2o-client", "--", "python3", "-"),
            stdin=PREAMBLE + script,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
        return json.loads(next(line for line in reversed(done.stdout.splitlines()) if line.startswith(("{", "["))))

    def guard(self, number: int) -> dict[str, Any]:
        """What the guard of a node tells; empty while it does not answer."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/h2o-cluster-{number}:8090/proxy/state"
        done = self.kubectl.raw(path)
        return dict(json.loads(done.stdout)) if done.returncode == 0 else {}

    def usable(self, nodes: int) -> bool:
        """Whether all nodes are in one cloud, and the Service reaches its leader."""
        found = [self.guard(n) for n in range(nodes)]
        together = [set(f.get("together", [])) for f in found]
        whole = all(f.get("view") == "whole" for f in found) and all(t == together[0] for t in together)
        slices = self.kubectl.items("endpointslices", NAMESPACE, "kubernetes.io/service-name=h2o")
        ready = [e for s in slices for e in s.get("endpoints") or [] if e["conditions"]["ready"]]
        return whole and len(together[0]) == nodes and len(ready) == 1


@pytest.fixture(scope="module")
def site(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    kubectl = Target.of(cluster).kubectl
    found = Site(cluster, kubectl, tmp_path_factory.mktemp("h2o"))
    try:
        found.up()
        _client(found)
        yield found
    finally:
        # It holds the volume, which would not go before it.
        kubectl.run("delete", "pod", "h2o-client", "-n", NAMESPACE, "--ignore-not-found", "--now", check=False)
        found.down()


def _client(site: Site) -> None:
    """H2O's client as its package has it; the image carries it, so that the tests need nothing here."""
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "h2o-client", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/name": "h2o-jobs"}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 999,
                "fsGroup": 999,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [
                {"name": "login", "secret": {"secretName": "h2o-login"}},
                {"name": "tmp", "emptyDir": {}},
                {"name": "export", "persistentVolumeClaim": {"claimName": "h2o-export"}},
            ],
            "containers": [
                {
                    "name": "client",
                    "image": images.ref("h2o"),
                    "imagePullPolicy": "Never",
                    "command": ["sleep", "86400"],
                    "env": [{"name": "PYTHONPATH", "value": "/opt/h2o/client"}, {"name": "HOME", "value": "/tmp"}],  # noqa: S108
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "readOnlyRootFilesystem": True,
                        "capabilities": {"drop": ["ALL"]},
                    },
                    "resources": {
                        "requests": {"cpu": "10m", "memory": "64Mi"},
                        "limits": {"cpu": "500m", "memory": "256Mi"},
                    },
                    "volumeMounts": [
                        {"name": "login", "mountPath": "/etc/h2o/login"},
                        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
                        {"name": "export", "mountPath": "/var/lib/h2o/export"},
                    ],
                }
            ],
        },
    }
    site.kubectl.run("apply", "-f", "-", stdin=json.dumps(pod))
    site.kubectl.run("wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=300s", "pod/h2o-client", timeout=320)
