"""Autoscalers on fake nodes: CPU as pods' annotations say, Pods metrics as posted; KEDA's objects are admitted."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from headroom import local
from headroom.errors import EnvironmentFailure, InputError
from headroom.local import addons
from headroom.local.addons import custom_metrics, keda

pytestmark = pytest.mark.cluster


def kubectl(cluster: local.Cluster, *arguments: str, stdin: object = None) -> str:
    text = json.dumps(stdin) if stdin is not None else None
    done = subprocess.run([str(cluster.kubectl), *arguments], input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def scaled(name: str, metric: dict[str, Any], annotations: dict[str, str]) -> dict[str, Any]:
    """A Deployment of two pods that ask for 100m each, and its autoscaler."""
    container = {"name": "app", "image": "none", "resources": {"requests": {"cpu": "100m"}}}
    labels = {"app": name}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"containers": [container]},
            },
        },
    }
    autoscaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": name},
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": 2,
            "maxReplicas": 4,
            "metrics": [metric],
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [deployment, autoscaler]}


def replicas(cluster: local.Cluster, name: str) -> str:
    return kubectl(cluster, "get", "deployment", name, "-o", "jsonpath={.spec.replicas}")


def eventually(check: Callable[[], bool], what: str, seconds: float = 150) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"never: {what}"
        time.sleep(0.5)


def test_cpu_autoscaler_follows_the_usage_that_pods_declare(cluster: local.Cluster) -> None:
    target = {"type": "Utilization", "averageUtilization": 50}
    metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
    kubectl(cluster, "apply", "-f", "-", stdin=scaled("busy", metric, {"kwok.x-k8s.io/usage-cpu": "90m"}))
    eventually(lambda: replicas(cluster, "busy") == "4", "four replicas")


def test_autoscaler_follows_posted_metrics(cluster: local.Cluster) -> None:
    metrics = custom_metrics.install_posted(cluster)
    assert custom_metrics.install_posted(cluster) == metrics
    metric = {
        "type": "Pods",
        "pods": {"metric": {"name": "queue_depth"}, "target": {"type": "AverageValue", "averageValue": "10"}},
    }
    kubectl(cluster, "apply", "-f", "-", stdin=scaled("queued", metric, {}))

    def followed() -> bool:
        names = kubectl(cluster, "get", "pods", "-l", "app=queued", "-o", "jsonpath={.items[*].metadata.name}")
        for name in names.split():
            metrics.post("default", "pods", name, "queue_depth", "15")
        return replicas(cluster, "queued") == "4"

    eventually(followed, "four replicas")
    with pytest.raises(EnvironmentFailure, match="refused"):
        metrics.post("default", "pods", "any", "queue_depth", "much")


def test_programs_do_not_go_onto_fake_nodes(cluster: local.Cluster) -> None:
    with pytest.raises(InputError, match="fake"):
        addons.install(cluster, [addons.Addon.monitoring])


def test_objects_of_keda_are_admitted(cluster: local.Cluster) -> None:
    keda.install_definitions(cluster)
    keda.install_definitions(cluster)
    scaled_object = {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "admitted"},
        "spec": {
            "scaleTargetRef": {"name": "some"},
            "triggers": [{"type": "cron", "metadata": {"timezone": "UTC", "start": "0 8 * * *", "end": "0 9 * * *"}}],
        },
    }
    assert "created" in kubectl(cluster, "create", "-f", "-", stdin=scaled_object)
