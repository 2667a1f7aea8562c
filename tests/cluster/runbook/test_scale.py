"""`headroom scale` on a real API server: both bounds, the stack file, and every refusal without a trace."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import pytest

from headroom.ops.scale import gradual
from headroom.ops.signals import Counters, Look, Watcher

pytestmark = pytest.mark.cluster


def test_an_emergency_survives_an_up_and_goes_back_without_a_trace(site: Any) -> None:
    text = site.file.read_text()
    planned = site.bounds
    assert planned == (3, 4)
    done = site.ok("scale", "inference", "--to", "8", "--because", "launch day")
    assert "minimum 3 → 8, maximum 4 → 8" in done.stdout
    assert "times as many at once" in done.stderr  # over twice as many
    assert site.bounds == (8, 8)
    assert site.replicas == 8
    added = [line for line in site.file.read_text().splitlines() if line not in text.splitlines()]
    assert added == ['      emergencyReplicas: { value: 8, because: "launch day" }']

    up = site.ok("up")
    assert "nothing to change" in up.stdout
    assert site.bounds == (8, 8)
    assert "nothing to change" in site.ok("scale", "inference", "--to", "8", "--because", "launch day").stdout

    back = site.ok("scale", "inference", "--restore")
    assert "taken back: emergencyReplicas 8, because: launch day" in back.stdout
    assert site.file.read_text() == text
    assert site.bounds == planned
    assert site.replicas == 4  # the planned maximum at once; below it the autoscaler goes by its window
    assert "nothing to change" in site.ok("up").stdout


def test_below_the_plan_the_minimum_alone_is_lowered(site: Any) -> None:
    site.ok("scale", "inference", "--to", "2", "--because", "night")
    assert site.bounds == (2, 4)
    assert "override: { minReplicas: { value: 2, because: night } }" in site.file.read_text()
    site.ok("scale", "inference", "--to", "3", "--because", "day")
    assert site.bounds == (3, 4)
    assert "minReplicas" not in site.file.read_text()


def test_a_dry_run_and_every_refusal_leave_file_and_cluster_alone(site: Any) -> None:
    text, bounds = site.file.read_text(), site.bounds

    dry = site.ok("scale", "inference", "--to", "6", "--because", "x", "--dry-run")
    assert f"horizontalpodautoscaler/inference-hpa in {site.namespace}" in dry.stdout
    over_nodes = site.run("scale", "inference", "--to", "40", "--because", "x")
    assert over_nodes.exit_code != 0
    assert "headroom:nodes.max is 2" in str(over_nodes.exception)
    unknown = site.run("scale", "inferense", "--to", "6", "--because", "x")
    assert "did you mean 'inference'?" in str(unknown.exception)
    nothing = site.run("scale", "inference", "--to", "0", "--because", "x")
    assert "headroom maintenance on" in str(nothing.exception)

    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "finance", "namespace": site.namespace}}
    site.kubectl.run("apply", "-f", "-", stdin=json.dumps(quota | {"spec": {"hard": {"pods": "5"}}}))
    site.kubectl.run(
        *(
            "wait",
            "resourcequota/finance",
            "-n",
            site.namespace,
            "--for=jsonpath={.status.used.pods}=3",
            "--timeout=30s",
        )
    )
    over_quota = site.run("scale", "inference", "--to", "6", "--because", "x")
    site.kubectl.run("delete", "resourcequota", "finance", "-n", site.namespace)
    assert "ResourceQuota finance: pods 5" in str(over_quota.exception)

    assert site.file.read_text() == text
    assert site.bounds == bounds
    assert list(site.file.parent.glob(".*")) == []


def test_when_the_api_refuses_the_file_is_not_changed(site: Any) -> None:
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": "no-more"},
        "spec": {
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": ["autoscaling"],
                        "apiVersions": ["*"],
                        "operations": ["UPDATE"],
                        "resources": ["horizontalpodautoscalers"],
                    }
                ]
            },
            "validations": [{"expression": "object.spec.maxReplicas <= 5", "message": "finance says five"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": "no-more"},
        "spec": {"policyName": "no-more", "validationActions": ["Deny"]},
    }
    text, bounds = site.file.read_text(), site.bounds
    for manifest in (policy, binding):
        site.kubectl.run("apply", "-f", "-", stdin=json.dumps(manifest))
    try:
        for _ in range(60):  # a policy takes a moment until it is looked at
            probe = ("patch", "hpa", "inference-hpa", "-n", site.namespace, "--dry-run=server", "--type=merge")
            if site.kubectl.run(*probe, "-p", '{"spec":{"maxReplicas":6}}', check=False).returncode != 0:
                break
        refused = site.run("scale", "inference", "--to", "6", "--because", "x")
    finally:
        for manifest in (binding, policy):
            site.kubectl.run("delete", "-f", "-", stdin=json.dumps(manifest))
    assert "finance says five" in str(refused.exception)
    assert site.file.read_text() == text
    assert site.bounds == bounds


def test_edits_of_a_persons_are_in_the_way_and_ours_are_not(site: Any) -> None:
    git = ["git", "-C", str(site.file.parent)]
    for args in (["init", "-q"], ["add", "."], ["-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x"]):
        subprocess.run([*git, *args], check=True)
    site.ok("scale", "inference", "--to", "5", "--because", "ours")
    site.ok("scale", "inference", "--to", "6", "--because", "ours again")
    site.file.write_text(site.file.read_text().replace("targetRps: 250", "targetRps: 260"))
    refused = site.run("scale", "inference", "--restore")
    assert "local edits that are not committed" in str(refused.exception)
    assert site.bounds == (6, 6)
    site.ok("scale", "inference", "--restore", "--allow-dirty")
    assert site.bounds == (3, 4)
    assert "targetRps: 260" in site.file.read_text()
    shutil.rmtree(site.file.parent / ".git")


def test_larger_pods_take_their_threads_along(site: Any) -> None:
    site.ok("scale", "inference", "--cpu", "500m", "--because", "the pool is full")
    deployment = site.get("deployment", "inference")
    container = deployment["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"]["cpu"] == "500m"
    assert container["resources"]["limits"]["cpu"] == "1"
    config = site.get("configmap", container["envFrom"][0]["configMapRef"]["name"])
    assert config["data"]["WORKER_THREADS"] == "8"
    maps = site.kubectl.items("configmaps", site.namespace, "app=inference")
    assert len(maps) == 1  # the old one went when nobody used it
    assert "nothing to change" in site.ok("up").stdout
    site.ok("scale", "inference", "--restore")
    container = site.get("deployment", "inference")["spec"]["template"]["spec"]["containers"][0]
    assert container["resources"]["requests"]["cpu"] == "250m"


def test_gradually_up_and_down(site: Any) -> None:
    up = site.ok("scale", "inference", "--to", "6", "--because", "x", "--gradual", "--wait", "1s")
    assert site.bounds == (6, 6)
    assert "3 → 4 pods" in up.stderr and "5 → 6 pods" in up.stderr
    down = site.ok("scale", "inference", "--restore", "--gradual", "--wait", "1s")
    assert "6 → 5 pods" in down.stderr and "4 → 3 pods" in down.stderr
    assert site.bounds == (3, 4)
    assert site.replicas == 3


def test_rising_errors_end_it_one_step_back(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake pods count nothing, so the counts are ours: every tenth request fails once there are fewer than five."""
    site.ok("scale", "inference", "--to", "6", "--because", "launch day")
    total = {"requests": 0, "errors": 0}

    def heard(_: Watcher) -> Look:
        total["requests"] += 100
        total["errors"] += 10 if site.replicas < 5 else 0
        return Look({"a": Counters(total["requests"], total["errors"], {})})

    monkeypatch.setattr(Watcher, "heard", heard)
    done = site.run("scale", "inference", "--restore", "--gradual", "--wait", "2s")
    assert "stopped, inference is held at 5 pods: error rate" in str(done.exception)
    assert site.bounds == (5, 5)
    assert site.replicas == 5
    assert "going back to the plan (held at 5: error rate" in site.file.read_text()
    assert "nothing to change" in site.ok("up").stdout


def test_a_monitoring_that_falls_silent_ends_it_one_step_back(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fake pods count nothing, so the counts are ours, and there are none once there are fewer than five pods."""
    site.ok("scale", "inference", "--to", "6", "--because", "launch day")
    monkeypatch.setattr(Watcher, "heard", lambda _: Look({} if site.replicas < 5 else {"a": Counters(100, 0, {})}))
    monkeypatch.setattr(gradual, "LOOK_SECONDS", 0.1)
    done = site.run("scale", "inference", "--restore", "--gradual", "--wait", "1s")
    assert "stopped, inference is held at 5 pods: nothing tells its errors and p99 any more" in str(done.exception)
    assert site.bounds == (5, 5)
    assert site.replicas == 5
    assert "held at 5: nothing tells its errors" in site.file.read_text()
    assert "nothing to change" in site.ok("up").stdout


def test_under_keda_the_scaled_object_is_raised(keda: Any) -> None:
    keda.ok("scale", "inference", "--to", "8", "--because", "launch day")
    spec = keda.get("scaledobject", "inference-hpa")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (8, 8)
    assert keda.replicas == 8
    assert "nothing to change" in keda.ok("up").stdout
    keda.ok("scale", "inference", "--restore")
    spec = keda.get("scaledobject", "inference-hpa")["spec"]
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (3, 4)


def test_prod_asks_first(prod: Any) -> None:
    refused = prod.run("scale", "inference", "--to", "8", "--because", "x")
    assert "add --yes" in str(refused.exception)
    assert prod.bounds == (3, 4)
    prod.ok("scale", "inference", "--to", "8", "--because", "x", "--yes")
    assert prod.bounds == (8, 8)
