"""An inference service alone, which answers from its sample's features, and a load that fills its queue."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from headroom import local
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.local import addons
from headroom.local.addons import prometheus

CLIENTS = 8
WINDOW_SECONDS = 15
LEAST, MOST = 1, 3


@dataclass
class Service:
    """The stack of one source of metrics, in a namespace of that name."""

    source: str
    cluster: local.Cluster
    kubectl: Kubectl
    file: Path

    @property
    def namespace(self) -> str:
        return f"scaled-{self.source}"

    def headroom(self, *args: str) -> str:
        named = ["--stack", self.namespace, "--name", self.cluster.name, "--config", str(self.file)]
        done = CliRunner().invoke(application(), [*args, *named])
        assert done.exit_code == 0, done.output
        return done.output

    def hpa(self) -> dict[str, Any]:
        name = "keda-hpa-inference-hpa" if self.source == "keda" else "inference-hpa"
        return self.kubectl.get("hpa", name, "-n", self.namespace)

    def replicas(self) -> int:
        return int(self.kubectl.get("deployment", "inference", "-n", self.namespace)["spec"]["replicas"])

    def ready(self) -> int:
        return int(self.kubectl.get("deployment", "inference", "-n", self.namespace)["status"].get("readyReplicas", 0))

    def queue(self) -> str:
        """What the autoscaler says of itself, for a failure's words."""
        status = self.hpa()["status"]
        said = [f"{c['type']} {c['status']}: {c['message']}" for c in status.get("conditions", [])]
        return json.dumps({"metrics": status.get("currentMetrics"), "conditions": said})

    @contextlib.contextmanager
    def load(self) -> Iterator[None]:
        """More requests at once than a pod has threads, from a process of its own."""
        address = self.kubectl.get("service", "inference", "-n", self.namespace)["spec"]["clusterIP"]
        script = str(Path(__file__).with_name("clients.py"))
        clients = subprocess.Popen([sys.executable, script, f"http://{address}:8080", str(CLIENTS)])
        try:
            yield
            assert clients.poll() is None, "the clients ended by themselves"
        finally:
            clients.kill()
            clients.wait()

    @contextlib.contextmanager
    def without_prometheus(self) -> Iterator[None]:
        """Prometheus is away."""
        self.scale_prometheus(0)
        try:
            yield
        finally:
            self.scale_prometheus(1)

    def scale_prometheus(self, replicas: int) -> None:
        named = ("deployment/prometheus", "-n", "monitoring")
        self.kubectl.run("scale", *named, f"--replicas={replicas}")
        if replicas:
            self.kubectl.run("rollout", "status", *named, "--timeout=120s", timeout=130)
        else:
            gone = ("pod", "-n", "monitoring", "-l", "app.kubernetes.io/name=prometheus")
            self.kubectl.run("wait", "--for=delete", *gone, "--timeout=60s", timeout=70)


def stack_file(source: str) -> dict[str, Any]:
    """Scaled by its queue alone: CPU cannot go over its limit, so it never asks for more than there is."""
    scaling: dict[str, Any] = {"metrics": source, "requestQueueDepth": 10, "cpuUtilization": 100}
    scaling |= {"scaleUpWindow": "0s", "scaleDownWindow": f"{WINDOW_SECONDS}s"}
    if source == "keda":
        scaling["prometheusAddress"] = prometheus.ADDRESS
    because = "as small as a test needs it"
    service = {
        "preset": "fastapi",
        "image": "localhost/headroom/inference:0.1.0",
        "profile": {"rpsPerPod": 50, "workerThreads": 1, "cpu": "300m", "memory": "384Mi"},
        "limits": {"cpu": "300m", "memory": "768Mi"},
        "connectionsPerPod": 0,
        "autoscaling": scaling,
        "override": {
            "minReplicas": {"value": LEAST, "because": because},
            "maxReplicas": {"value": MOST, "because": because},
            "queueLimit": {"value": 2000, "because": "a queue that grows is what is looked at"},
        },
        # One row a call, or the whole queue would be one batch.
        "env": {"BATCH_LIMIT": "1", "DEADLINE_MS": "20000", "LOG_LEVEL": "warning"},
        "drain": {"preStop": "1s", "timeout": "5s"},
    }
    return {
        "headroom:environment": "local",
        "headroom:namespace": f"scaled-{source}",
        "headroom:services": {"inference": service},
    }


def deployed(source: str, cluster: local.Cluster, folder: Path) -> Iterator[Service]:
    made = Service(source, cluster, Target.of(cluster).kubectl, folder / f"Pulumi.scaled-{source}.yaml")
    made.file.write_text(yaml.safe_dump({"config": stack_file(source)}))
    try:
        made.headroom("up", "--yes")
        yield made
    finally:
        made.headroom("down", "--yes", "--delete-data", made.namespace)


@pytest.fixture(scope="module", params=["custom", pytest.param("keda", marks=pytest.mark.slow)])
def scaled(
    request: pytest.FixtureRequest, cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """The service under each source of its metric. KEDA is left to make e2e-full: it takes long to build."""
    addon = {"custom": addons.Addon.custom_metrics, "keda": addons.Addon.keda}[request.param]
    addons.install(cluster, [addon])
    yield from deployed(request.param, cluster, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def eventually() -> Callable[..., float]:
    """Waits for something to come true; gives how many seconds that took."""

    def wait(look: Callable[[], Any], seconds: float, but: Callable[[], str]) -> float:
        began = time.monotonic()
        while not look():
            if time.monotonic() > began + seconds:
                pytest.fail(but())
            time.sleep(0.5)
        return time.monotonic() - began

    return wait
