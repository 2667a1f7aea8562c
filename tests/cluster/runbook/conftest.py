"""One service on fake nodes, and the commands as a person types them."""

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

NAMESPACE = "runbook"
STACK = """\
config:
  headroom:environment: ENVIRONMENT
  headroom:namespace: runbook

  headroom:services:
    inference: # what is scaled here
      preset: fastapi
      image: localhost/headroom/inference:0.1.0 # ours
      demand: { targetRps: 250, baselineRps: 150 } # 3 pods and at most 4
      profile: { rpsPerPod: 100, serviceTime: 8ms, workerThreads: 4, cpu: 250m, memory: 256Mi }
      autoscaling: AUTOSCALING

  # Forty of them have no place on these.
  headroom:nodes: { cpu: "4", memory: 8Gi, max: 2 }
"""


@dataclass(frozen=True)
class Site:
    """A stack file of its own, on the cluster."""

    cluster: local.Cluster
    kubectl: Kubectl
    file: Path

    def run(self, *args: str) -> Result:
        """A command with its stack, and no question asked."""
        where = ["--stack", "runbook", "--name", self.cluster.name, "--config", str(self.file)]
        return CliRunner().invoke(application(), [*args, *where])

    def ok(self, *args: str) -> Result:
        done = self.run(*args)
        assert done.exit_code == 0, f"{done.output}\n{done.exception}"
        return done

    def get(self, kind: str, name: str) -> Any:
        return self.kubectl.find(kind, name, NAMESPACE)

    @property
    def bounds(self) -> tuple[int, int]:
        spec = self.get("hpa", "inference-hpa")["spec"]
        return spec["minReplicas"], spec["maxReplicas"]

    @property
    def replicas(self) -> int:
        return int(self.get("deployment", "inference")["spec"]["replicas"])


def site_of(cluster: local.Cluster, file: Path, environment: str, autoscaling: str) -> Iterator[Site]:
    file.write_text(STACK.replace("ENVIRONMENT", environment).replace("AUTOSCALING", autoscaling))
    site = Site(cluster, Target.of(cluster).kubectl, file)
    try:
        site.ok("up")
        yield site
    finally:
        site.run("down", "--delete-data", NAMESPACE)


@pytest.fixture
def site(cluster: local.Cluster, tmp_path: Path) -> Iterator[Site]:
    """The stack as its file says, scaled on CPU."""
    yield from site_of(cluster, tmp_path / "Pulumi.runbook.yaml", "dev", "{ metrics: resource }")


@pytest.fixture
def keda(cluster: local.Cluster, tmp_path: Path) -> Iterator[Site]:
    """The same, scaled by KEDA, whose definitions are there."""
    keda_addon.install_definitions(cluster)
    autoscaling = "{ metrics: keda, prometheusAddress: http://prometheus.monitoring:9090 }"
    yield from site_of(cluster, tmp_path / "Pulumi.runbook.yaml", "dev", autoscaling)


@pytest.fixture
def prod(cluster: local.Cluster, tmp_path: Path) -> Iterator[Site]:
    """The same, called prod."""
    yield from site_of(cluster, tmp_path / "Pulumi.runbook.yaml", "prod", "{ metrics: resource }")
