"""`headroom rightsize` from a real Prometheus and real pods."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headroom import local
from headroom.cli.main import application
from headroom.local.addons.install import Addon, install

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NAMESPACE = "sized"
STACK = """\
config:
  headroom:environment: local
  headroom:namespace: sized
  headroom:services:
    inference:
      preset: fastapi
      image: localhost/headroom/inference:0.1.0
      demand: { targetRps: 50 }
      profile: { rpsPerPod: 100, workerThreads: 4, cpu: 500m, memory: 768Mi } # guessed
      limits: { cpu: "1", memory: 1Gi }
      minAvailable: 0
      autoscaling: { metrics: resource }
"""


def test_sizes_come_from_use_and_too_little_of_it_is_refused(cluster: local.Cluster, tmp_path: Path) -> None:
    install(cluster, [Addon.monitoring])
    file = tmp_path / "Pulumi.sized.yaml"
    file.write_text(STACK)

    def headroom(*args: str) -> Any:
        where = ["--stack", NAMESPACE, "--name", cluster.name, "--config", str(file)]
        return CliRunner().invoke(application(), [*args, *where])

    up = headroom("up")
    try:
        assert up.exit_code == 0, up.output
        refused = headroom("rightsize", "inference")
        assert re.search(r"too little data on inference: .* by \d+ pods in the last 7 days", str(refused.exception))
        deadline = time.monotonic() + 300
        while (done := headroom("rightsize", "inference", "--window", "10m", "--least", "2m", "--write")).exit_code:
            assert time.monotonic() < deadline, done.exception
            time.sleep(5)
        text = file.read_text()
        assert "# guessed" in text
        memory = re.search(r"memory: (\d+)Mi \} # guessed", text)
        assert memory is not None, text
        assert 48 <= int(memory[1]) < 512  # it runs in some 110 Mi
        assert "(-" in done.stdout or "+0.00" in done.stdout  # and costs less, or nothing here as before
        assert headroom("doctor", "inference").exit_code == 0
    finally:
        headroom("down", "--delete-data", NAMESPACE)
