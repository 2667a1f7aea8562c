"""A real H2O cluster of two small nodes: how long it takes to form, to be back after a node died, to be resized.

Needs a real node (Linux, root). `HEADROOM_TEST_CLUSTER` names an embedded cluster to use, else one is made and removed.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from bench.report import Measurement, median
from headroom import local
from headroom.engine.kubectl import KubectlEngine
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.local import faults, images
from headroom.ops import deploy
from headroom.progress import Silent

CLUSTER = "headroom-bench-h2o"
NAMESPACE = "h2o-bench"
DEATHS = (1, 0)
"""Nodes that die, each once: the kubelet waits 10 s before it starts a container that died twice."""
ROWS = 1_000_000
SECONDS = 900
FRAME = f"""
import h2o
h2o.connect(url="http://h2o:54321", auth=("h2o", open("/etc/h2o/login/h2oUi").read().strip()), verbose=False)
h2o.no_progress()
frame = h2o.create_frame(rows={ROWS}, cols=10, categorical_fraction=0.2, factors=50, missing_fraction=0.01, seed=1,
                         time_fraction=0, string_fraction=0, binary_fraction=0, integer_fraction=0.2, frame_id="rows")
print("rows", frame.nrow)
"""
COUNT = FRAME.partition("frame =")[0] + 'print("rows", h2o.get_frame("rows").nrow)\n'


def measure() -> Iterator[Measurement]:
    """Forming, recovery and resize, in this order on one cluster."""
    given = local.find(os.environ.get("HEADROOM_TEST_CLUSTER") or "no-cluster-has-this-name")
    cluster = given or local.up(CLUSTER, nodes="real")
    try:
        with tempfile.TemporaryDirectory() as folder:
            yield from _measure(Site(cluster, Target.of(cluster).kubectl, Path(folder)))
    finally:
        if given is None:
            local.down(CLUSTER)


@dataclass(frozen=True)
class Site:
    """A cluster and the folder of its stack file."""

    cluster: local.Cluster
    kubectl: Kubectl
    folder: Path

    def request(self, nodes: int) -> deploy.Request:
        """The stack with this many nodes."""
        h2o = {
            "demand": {"dataset": "200MB"},
            "node": {"memory": "2Gi", "cpu": "50m", "limits": {"cpu": "1"}},
            "override": {"nodes": {"value": nodes, "because": "measured"}},
        }
        config = {
            "headroom:environment": "local",
            "headroom:namespace": NAMESPACE,
            "headroom:services": {},
            "headroom:images": {"h2o": "localhost/headroom/h2o:0.1.0"},
            "headroom:h2o": h2o,
        }
        file = self.folder / "Pulumi.local.yaml"
        file.write_text(yaml.safe_dump({"config": config}))
        return deploy.Request("local", file, Target.of(self.cluster), self.cluster)

    def up(self, nodes: int) -> float:
        """Seconds of the whole `up`."""
        prepared = deploy.prepare(self.request(nodes), Silent())
        started = time.monotonic()
        KubectlEngine(timeout=SECONDS).up(prepared, Silent())
        return time.monotonic() - started

    def token(self, number: int) -> str:
        """Of a node's process, once it is in a whole cloud; else empty."""
        done = self.kubectl.raw(f"/api/v1/namespaces/{NAMESPACE}/pods/h2o-cluster-{number}:8090/proxy/state")
        told = json.loads(done.stdout) if done.returncode == 0 else {}
        return str(told["token"]) if told.get("view") == "whole" else ""

    def leaders(self) -> int:
        """Ready nodes behind the clients' Service."""
        slices = self.kubectl.items("endpointslices", NAMESPACE, "kubernetes.io/service-name=h2o")
        return sum(e["conditions"]["ready"] for s in slices for e in s.get("endpoints") or [])

    def rows(self, script: str) -> int:
        """What a script with H2O's client says; the client itself has words of its own before and after it."""
        command = ("exec", "-i", "-n", NAMESPACE, "client", "--", "python3", "-")
        out = self.kubectl.run(*command, stdin=script, timeout=SECONDS).stdout
        return next(int(line.split()[1]) for line in out.splitlines() if line.startswith("rows "))


def _measure(site: Site) -> Iterator[Measurement]:
    site.up(2)
    try:
        yield median("cloud of 2 forms, pods started to ready", [_formed(site)], "s", "<= 30")
        yield median("node died to usable again", [_recovery(site, number) for number in DEATHS], "s", "<= 60")
        _client(site)
        assert site.rows(FRAME) == ROWS
        took = site.up(3)
        assert site.rows(COUNT) == ROWS
        yield median("resize 2 to 3 with 1 million rows", [took], "s")
        yield median("cloud of 3 forms, pods started to ready", [_formed(site)], "s", "<= 30")
    finally:
        KubectlEngine(timeout=SECONDS).down(deploy.bare(site.request(2)), Silent(), delete_data=NAMESPACE)


def _formed(site: Site) -> float:
    pods = site.kubectl.items("pods", NAMESPACE, "app.kubernetes.io/name=h2o-cluster")
    started = [_time(c["state"]["running"]["startedAt"]) for p in pods for c in p["status"]["containerStatuses"]]
    ready = [_time(c["lastTransitionTime"]) for p in pods for c in p["status"]["conditions"] if c["type"] == "Ready"]
    return max(ready) - min(started)


def _recovery(site: Site, number: int) -> float:
    before = {site.token(0), site.token(1)}
    started = time.monotonic()
    faults.kill(site.cluster, NAMESPACE, f"h2o-cluster-{number}", "h2o")
    _until(lambda: not {site.token(0), site.token(1)} & {*before, ""} and site.leaders() == 1)
    return time.monotonic() - started


def _client(site: Site) -> None:
    security = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    pod: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "client", "namespace": NAMESPACE, "labels": {"app.kubernetes.io/name": "h2o-jobs"}},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 999,
                "fsGroup": 999,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "volumes": [{"name": "login", "secret": {"secretName": "h2o-login"}}],
            "containers": [
                {
                    "name": "client",
                    "image": images.ref("h2o"),
                    "imagePullPolicy": "Never",
                    "command": ["sleep", "7200"],
                    "env": [{"name": "PYTHONPATH", "value": "/opt/h2o/client"}],
                    "securityContext": security,
                    "volumeMounts": [{"name": "login", "mountPath": "/etc/h2o/login"}],
                }
            ],
        },
    }
    site.kubectl.run("apply", "-f", "-", stdin=json.dumps(pod))
    site.kubectl.run("wait", "-n", NAMESPACE, "--for=condition=Ready", "--timeout=300s", "pod/client", timeout=320)


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def _time(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
