"""The policy pack under the real Pulumi CLI. The provider writes YAML instead of asking a cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.engine

if shutil.which("pulumi") is None:
    pytest.skip("no pulumi on PATH", allow_module_level=True)

PROGRAM = """
import json
from pathlib import Path
import pulumi
import pulumi_kubernetes as k8s
here = pulumi.ResourceOptions(provider=k8s.Provider("yaml", render_yaml_to_directory=str(Path.cwd() / "out")))
kinds = {"StatefulSet": k8s.apps.v1.StatefulSet, "Deployment": k8s.apps.v1.Deployment,
         "HorizontalPodAutoscaler": k8s.autoscaling.v2.HorizontalPodAutoscaler}
for o in json.loads(Path("objects.json").read_text()):
    kinds[o["kind"]](o["metadata"]["name"], metadata=o["metadata"], spec=o["spec"], opts=here)
"""
POD = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "app",
            "image": "registry.example/app:1",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1", "memory": "1Gi"}},
            "readinessProbe": {"httpGet": {"path": "/", "port": 80}},
            "livenessProbe": {"httpGet": {"path": "/", "port": 80}},
        }
    ],
}
Pulumi = Callable[..., subprocess.CompletedProcess[str]]


def workload(kind: str, *, pod: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    labels = {"app": "one"}
    template = {"metadata": {"labels": labels}, "spec": {**POD, **(pod or {})}}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "one", "namespace": "ml"},
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


@pytest.fixture
def pulumi(tmp_path: Path) -> Pulumi:
    """`pulumi(command, objects…, config={…})` in a project of its own with a file backend and the pack."""
    folder = tmp_path / "project"
    (tmp_path / "state").mkdir()
    folder.mkdir()
    runtime = {"name": "python", "options": {"virtualenv": sys.prefix}}
    (folder / "Pulumi.yaml").write_text(json.dumps({"name": "packtest", "runtime": runtime}))
    (folder / "__main__.py").write_text(PROGRAM)
    env = {
        **os.environ,
        "PULUMI_BACKEND_URL": f"file://{tmp_path / 'state'}",
        "PULUMI_CONFIG_PASSPHRASE": "x",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    env.pop("HEADROOM_POLICY_STATE", None)

    def raw(*args: str) -> subprocess.CompletedProcess[str]:
        command = ["pulumi", *args, "--non-interactive", "--color", "never"]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    made = raw("stack", "init", "one")
    assert made.returncode == 0, made.stderr

    def run(command: str, *objects: dict[str, Any], config: dict[str, Any] | None = None) -> Any:
        (folder / "objects.json").write_text(json.dumps(objects))
        asked = tmp_path / "config.json"
        asked.write_text(json.dumps(config or {}))
        yes = ["--yes"] if command == "up" else []
        return raw(command, *yes, "--policy-pack", str(ROOT / "policy"), "--policy-pack-config", str(asked))

    return run


def test_what_keeps_to_the_rules_passes(pulumi: Pulumi) -> None:
    done = pulumi("preview", workload("Deployment"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "headroom" in done.stdout, "the pack ran"


def test_what_breaks_a_rule_stops_the_preview(pulumi: Pulumi) -> None:
    done = pulumi("preview", workload("Deployment", pod={"hostNetwork": True}))
    assert done.returncode != 0
    assert "restricted-pods" in done.stdout + done.stderr
    assert "hostNetwork is not allowed" in done.stdout + done.stderr


def test_a_rule_over_the_whole_stack_sees_all_of_it(pulumi: Pulumi) -> None:
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "one-hpa", "namespace": "ml"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "one"}, "minReplicas": 1, "maxReplicas": 2},
    }
    assert pulumi("preview", workload("Deployment"), scaler).returncode == 0
    done = pulumi("preview", workload("Deployment", replicas=2), scaler)
    assert done.returncode != 0
    assert "one-replicas-owner" in done.stdout + done.stderr


def test_a_stateful_set_is_replaced_only_when_its_name_is_allowed(pulumi: Pulumi) -> None:
    assert pulumi("up", workload("StatefulSet", serviceName="a")).returncode == 0
    in_place = pulumi("preview", workload("StatefulSet", serviceName="a", minReadySeconds=5))
    assert in_place.returncode == 0, in_place.stdout + in_place.stderr
    replaced = workload("StatefulSet", serviceName="b")
    done = pulumi("preview", replaced)
    assert done.returncode != 0
    assert "stateful-set-replacement" in done.stdout + done.stderr
    assert "spec.serviceName" in done.stdout + done.stderr
    allowed = pulumi("preview", replaced, config={"stateful-set-replacement": {"allow": ["one"]}})
    assert allowed.returncode == 0, allowed.stdout + allowed.stderr
