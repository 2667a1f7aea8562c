"""The acting commands on a stack that Pulumi holds: its next update finds no field taken and undoes nothing."""

from __future__ import annotations

import os
import shutil
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

pytestmark = [
    pytest.mark.engine,
    pytest.mark.cluster,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="no pulumi on PATH"),
]

CONFIG = """\
config:
  headroom:environment: dev
  headroom:namespace: acting
  headroom:services:
    inference:
      preset: fastapi
      image: localhost/headroom/inference:0.1.0
      demand: { targetRps: 250, baselineRps: 250 } # 3 pods and at most 4
      profile: { rpsPerPod: 100, serviceTime: 8ms, workerThreads: 4, cpu: 250m, memory: 256Mi }
      autoscaling: { metrics: resource }
"""


@dataclass(frozen=True)
class Site:
    cluster: local.Cluster
    kubectl: Kubectl
    file: Path

    def ok(self, *args: str) -> Result:
        where = ["--stack", "acting", "--name", self.cluster.name, "--config", str(self.file)]
        done = CliRunner().invoke(application(), [*args, *where])
        assert done.exit_code == 0, f"{done.output}\n{done.exception}"
        return done

    def get(self, kind: str, name: str) -> Any:
        return self.kubectl.find(kind, name, "acting")

    @property
    def bounds(self) -> tuple[int, int]:
        spec = self.get("hpa", "inference-hpa")["spec"]
        return spec["minReplicas"], spec["maxReplicas"]

    @property
    def image(self) -> str:
        return str(self.get("deployment", "inference")["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    name = f"test-acting-{os.getpid()}"
    file = tmp_path_factory.mktemp("acting") / "Pulumi.acting.yaml"
    file.write_text(CONFIG)
    try:
        cluster = local.up(name, nodes="fake", fake_nodes=1)
        site = Site(cluster, Target.of(cluster).kubectl, file)
        site.ok("up")
        yield site
    finally:
        local.down(name)


def test_an_emergency_survives_an_update_and_a_later_edit_takes_its_fields_back(site: Site) -> None:
    site.ok("scale", "inference", "--to", "6", "--because", "launch day")
    assert site.bounds == (6, 6)
    site.ok("up")
    assert site.bounds == (6, 6)
    # A person takes the line out by hand: Pulumi must not find the fields in somebody else's name.
    site.file.write_text(CONFIG)
    site.ok("up")
    assert site.bounds == (3, 4)


def test_maintenance_and_back(site: Site) -> None:
    site.ok("maintenance", "on", "inference")
    site.ok("up")
    assert site.get("deployment", "inference")["spec"]["replicas"] == 0
    site.ok("maintenance", "off", "inference")
    assert site.get("deployment", "inference")["spec"]["replicas"] == 3
    site.ok("up")
    assert site.get("deployment", "inference")["spec"]["replicas"] >= 3


def test_a_canary_is_taken_up_changed_and_taken_away(site: Site) -> None:
    image = "localhost/headroom/inference:0.2.0"
    site.ok("canary", "start", "inference", "--image", image, "--watch", "0s")
    site.ok("up")
    assert site.get("deployment", "inference-canary") is not None
    site.file.write_text(site.file.read_text().replace("weight: 0.1", "weight: 0.5"))
    site.ok("up")
    assert site.get("deployment", "inference-canary")["spec"]["replicas"] == 2
    site.ok("canary", "promote", "inference", "--allow-dirty")
    assert site.get("deployment", "inference-canary") is None
    assert site.image == image
    site.ok("up")
    assert site.image == image


def test_a_rollback_by_pulumi(site: Site) -> None:
    before = site.file.read_text()
    site.file.write_text(before.replace("targetRps: 250", "targetRps: 350"))
    site.ok("up")
    assert site.bounds == (3, 6)
    done = site.ok("rollback", "--yes")
    assert "inference-hpa" in done.stdout
    assert site.bounds == (3, 4)
    assert site.file.read_text() == before
    site.ok("rollback", "inference", "--to", "1", "--yes")
    assert site.image.endswith(":0.1.0")
    site.ok("up")
    assert site.image.endswith(":0.1.0")
