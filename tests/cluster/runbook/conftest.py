"""One service on fake nodes, in three kinds, and the commands as a person types them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headroom import local
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.local.addons import keda as keda_addon

CONFIG = """\
config:
  headroom:environment: ENVIRONMENT
  headroom:namespace: NAMESPACE

  headroom:services:
    inference: # what is scaled here
      preset: fastapi
      image: localhost/headroom/inference:0.1.0 # ours
      demand: { targetRps: 250, baselineRps: 250 } # 3 pods and at most 4
      profile: { rpsPerPod: 100, serviceTime: 8ms, workerThreads: 4, cpu: 250m, memory: 256Mi }
      autoscaling: AUTOSCALING

  # Forty of them have no place on these.
  headroom:nodes: { cpu: "4", memory: 8Gi, max: 2 }
"""


@dataclass(frozen=True)
class Site:
    """A stack with a file and a namespace of its own."""

    cluster: local.Cluster
    kubectl: Kubectl
    file: Path
    namespace: str
    text: str

    def run(self, *args: str) -> Result:
        """A command on this stack."""
        where = ["--stack", self.namespace, "--name", self.cluster.name, "--config", str(self.file)]
        return CliRunner().invoke(application(), [*args, *where])

    def ok(self, *args: str) -> Result:
        done = self.run(*args)
        assert done.exit_code == 0, f"{done.output}\n{done.exception}"
        return done

    def get(self, kind: str, name: str) -> Any:
        return self.kubectl.find(kind, name, self.namespace)

    @property
    def bounds(self) -> tuple[int, int]:
        spec = self.get("hpa", "inference-hpa")["spec"]
        return spec["minReplicas"], spec["maxReplicas"]

    @property
    def replicas(self) -> int:
        return int(self.get("deployment", "inference")["spec"]["replicas"])

    def again(self) -> Site:
        """As its file says, its history begun anew, whatever the test before left."""
        self.run("canary", "abort", "inference")
        self.kubectl.run("delete", "configmap", "headroom-history", "-n", self.namespace, "--ignore-not-found")
        self.file.write_text(self.text)
        self.ok("up")
        self.kubectl.run("scale", "deployment/inference", "-n", self.namespace, "--replicas=3")
        return self


def deployed(cluster: local.Cluster, folder: Path, kind: str, environment: str, autoscaling: str) -> Iterator[Site]:
    namespace = f"runbook-{kind}"
    text = CONFIG.replace("ENVIRONMENT", environment).replace("AUTOSCALING", autoscaling)
    text = text.replace("NAMESPACE", namespace)
    file = folder / kind / f"Pulumi.{namespace}.yaml"
    file.parent.mkdir()
    file.write_text(text)
    site = Site(cluster, Target.of(cluster).kubectl, file, namespace, text)
    try:
        site.ok("up")
        yield site
    finally:
        site.run("down", "--delete-data", namespace)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runbook")


@pytest.fixture(scope="session")
def on_cpu(cluster: local.Cluster, folder: Path) -> Iterator[Site]:
    yield from deployed(cluster, folder, "cpu", "dev", "{ metrics: resource }")


@pytest.fixture(scope="session")
def on_keda(cluster: local.Cluster, folder: Path) -> Iterator[Site]:
    keda_addon.install_definitions(cluster)
    autoscaling = "{ metrics: keda, prometheusAddress: http://prometheus.monitoring:9090 }"
    yield from deployed(cluster, folder, "keda", "dev", autoscaling)


@pytest.fixture(scope="session")
def in_prod(cluster: local.Cluster, folder: Path) -> Iterator[Site]:
    yield from deployed(cluster, folder, "prod", "prod", "{ metrics: resource }")


@pytest.fixture
def site(on_cpu: Site) -> Site:
    """Scaled on CPU."""
    return on_cpu.again()


@pytest.fixture
def keda(on_keda: Site) -> Site:
    """Scaled by KEDA, whose definitions are there without its operator."""
    return on_keda.again()


@pytest.fixture
def prod(in_prod: Site) -> Site:
    """Scaled on CPU, and called prod."""
    return in_prod.again()
