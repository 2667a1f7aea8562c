"""The real program under the real Pulumi CLI on the embedded cluster, with the policy pack on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headroom import local
from headroom.engine.automation import AutomationEngine
from headroom.engine.model import Deployment, Target
from headroom.progress import Silent

ROOT = Path(__file__).parents[3]

pytestmark = [pytest.mark.engine, pytest.mark.cluster]

if shutil.which("pulumi") is None:
    pytest.skip("no pulumi on PATH", allow_module_level=True)


@pytest.fixture(scope="module")
def cluster() -> Iterator[local.Cluster]:
    name = f"test-policy-{os.getpid()}"
    try:
        yield local.up(name, nodes="fake", fake_nodes=2)
    finally:
        local.down(name)


def deployment(folder: Path, cluster: local.Cluster, target_rps: int) -> Deployment:
    service = {
        "preset": "fastapi",
        "image": "registry.example/inference:1.0.0",
        "demand": {"targetRps": target_rps, "baselineRps": 200},
        "profile": {"rpsPerPod": 100, "serviceTime": "8ms", "workerThreads": 4, "cpu": "250m", "memory": "512Mi"},
        "autoscaling": {"metrics": "resource"},
    }
    config = {
        "headroom:environment": "dev",
        "headroom:namespace": "policy",
        "headroom:services": {"inference": service},
    }
    file = folder / "Pulumi.dev.yaml"
    file.write_text(json.dumps({"config": config}))
    return Deployment(ROOT, "dev", Target.of(cluster), config_file=file)


def preview_with_policies(cluster: local.Cluster) -> subprocess.CompletedProcess[str]:
    """What a person, or CI, types, in the workspace that the engine keeps."""
    state = cluster.state / "pulumi"
    env = {
        **os.environ,
        "PULUMI_BACKEND_URL": f"file://{state / 'backend'}",
        "PULUMI_CONFIG_PASSPHRASE_FILE": str(state / "passphrase"),
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    pack = ["--policy-pack", str(ROOT / "policy"), "--policy-pack-config", str(ROOT / "policy" / "config.json")]
    asked = ["--refresh", "--expect-no-changes", "--non-interactive", "--color", "never", "--suppress-outputs"]
    command = ["pulumi", "preview", "--stack", "dev", *asked, *pack]
    return subprocess.run(command, cwd=state / "dev", env=env, capture_output=True, text=True, check=False)


def test_a_stack_keeps_to_the_policies_and_an_autoscaler_is_no_drift(cluster: local.Cluster, tmp_path: Path) -> None:
    engine, kubectl = AutomationEngine(), Target.of(cluster).kubectl
    first = deployment(tmp_path, cluster, 400)
    assert engine.preview(first, Silent()).count().keys() == {"create"}
    engine.up(first, Silent())
    assert engine.up(first, Silent()).changes.empty

    # What an autoscaler does, in the way that it does it.
    kubectl.run("scale", "deployment", "inference", "--namespace", "policy", "--replicas", "4")
    assert engine.up(first, Silent()).changes.empty
    live = kubectl.find("deployment", "inference", "policy")
    assert live is not None
    # The cluster's own autoscaler may have moved on meanwhile; a deployment that took the field would have put 1.
    assert live["spec"]["replicas"] >= 2, "a deployment does not undo the autoscaler"
    nightly = preview_with_policies(cluster)
    assert nightly.returncode == 0, nightly.stdout + nightly.stderr
    assert "headroom" in nightly.stdout, "the pack ran"

    resized = deployment(tmp_path, cluster, 800)
    changed = {c.name for c in engine.preview(resized, Silent()).of("update")}
    assert "inference-hpa" in changed
    engine.up(resized, Silent())
    scaler = kubectl.find("hpa", "inference-hpa", "policy")
    assert scaler is not None
    assert scaler["spec"]["maxReplicas"] == 12

    engine.down(resized, Silent(), delete_data="policy")
    assert kubectl.run("get", "ns", "policy", "--ignore-not-found").stdout == ""
