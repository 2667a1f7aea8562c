from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

Manifest = dict[str, Any]

POD_SPEC: Manifest = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "app",
            "image": "registry.example/app:1.2.3",
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "resources": {
                "requests": {"cpu": "100m", "memory": "64Mi"},
                "limits": {"cpu": "200m", "memory": "128Mi"},
            },
            "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}},
            "livenessProbe": {"httpGet": {"path": "/live", "port": 8080}},
            "env": [
                {"name": "LOG_LEVEL", "value": "info"},
                {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
            ],
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}


def put(tree: Any, path: str, value: Any) -> None:
    """Set `a.b.0.c`; a value of None removes the key."""
    *steps, last = path.split(".")
    for step in steps:
        tree = tree[int(step)] if isinstance(tree, list) else tree.setdefault(step, {})
    if isinstance(tree, list):
        tree[int(last)] = value
    elif value is None:
        tree.pop(last, None)
    else:
        tree[last] = value


@pytest.fixture
def workload() -> Callable[..., Manifest]:
    """A workload that breaks no rule, with edits `{"spec.replicas": 3}` (None removes)."""

    def make(edits: Manifest | None = None, *, kind: str = "Deployment", name: str = "app") -> Manifest:
        labels = {"app": name}
        made: Manifest = {
            "apiVersion": "batch/v1" if kind == "Job" else "apps/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "ml", "labels": labels},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": deepcopy(POD_SPEC)},
            },
        }
        for path, value in (edits or {}).items():
            put(made, path, value)
        return made

    return make


@pytest.fixture
def budget() -> Callable[..., Manifest]:
    def make(app: str = "app", *, name: str = "", namespace: str = "ml", **spec: Any) -> Manifest:
        return {
            "apiVersion": "policy/v1",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name or app, "namespace": namespace},
            "spec": {"selector": {"matchLabels": {"app": app}}, **spec},
        }

    return make


@pytest.fixture
def autoscaler() -> Callable[..., Manifest]:
    def make(app: str = "app", *, kind: str = "HorizontalPodAutoscaler", **spec: Any) -> Manifest:
        version = "autoscaling/v2" if kind == "HorizontalPodAutoscaler" else "keda.sh/v1alpha1"
        return {
            "apiVersion": version,
            "kind": kind,
            "metadata": {"name": f"{app}-hpa", "namespace": "ml"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": app}, **spec},
        }

    return make
