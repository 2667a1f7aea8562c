"""The numbers that the objects carry, pinned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headroom.engine.rendered import Rendered

BEHAVIOR = {
    "scaleDown": {
        "stabilizationWindowSeconds": 300,
        "policies": [{"type": "Percent", "value": 50, "periodSeconds": 60}],
    },
    "scaleUp": {
        "stabilizationWindowSeconds": 60,
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 30}],
    },
}


def cpu(percent: int) -> dict[str, Any]:
    return {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}},
    }


def pods(name: str, average: str) -> dict[str, Any]:
    return {
        "type": "Pods",
        "pods": {"metric": {"name": name}, "target": {"type": "AverageValue", "averageValue": average}},
    }


def hpa(stack: Rendered, key: str) -> dict[str, Any]:
    spec: dict[str, Any] = stack.find("HorizontalPodAutoscaler", f"{key}-hpa").manifest["spec"]
    return spec


def container(stack: Rendered, key: str) -> dict[str, Any]:
    (found,) = stack.find("Deployment", key).manifest["spec"]["template"]["spec"]["containers"]
    return dict(found)


def environment(stack: Rendered, key: str) -> dict[str, str]:
    """What the container's environment says, from the ConfigMap that it refers to."""
    (source,) = container(stack, key)["envFrom"]
    data: dict[str, str] = stack.find("ConfigMap", source["configMapRef"]["name"]).manifest["data"]
    return data


def test_inference_in_prod(rendered: Callable[[str], Rendered]) -> None:
    prod = rendered("prod")
    assert hpa(prod, "inference") == {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "inference"},
        "minReplicas": 5,
        "maxReplicas": 15,
        "metrics": [cpu(70), pods("request_queue_depth", "10")],
        "behavior": BEHAVIOR,
    }
    assert container(prod, "inference")["resources"] == {
        "requests": {"cpu": "1", "memory": "2Gi"},
        "limits": {"cpu": "2", "memory": "4Gi"},
    }
    sized = {"WORKER_THREADS": "4", "DATABASE_CONNECTIONS": "4", "DRAIN_S": "60"}
    assert environment(prod, "inference").items() >= sized.items()
    assert prod.find("PodDisruptionBudget", "inference").manifest["spec"]["minAvailable"] == 2
    pod = prod.find("Deployment", "inference").manifest["spec"]["template"]["spec"]
    assert pod["terminationGracePeriodSeconds"] == 80
    assert pod["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 10}}


def test_inferadb_in_prod(rendered: Callable[[str], Rendered]) -> None:
    prod = rendered("prod")
    spec = hpa(prod, "inferadb")
    assert (spec["maxReplicas"], spec["metrics"]) == (30, [cpu(70), pods("inferadb_requests_per_second", "3333")])
    assert prod.find("Deployment", "inferadb").id.namespace == "inferadb"
    assert environment(prod, "inferadb") == {
        "INFERADB__SERVER__WORKER_THREADS": "4",
        "INFERADB__CACHE__MAX_CAPACITY": "2000000",
    }
    ports = {p["name"]: p["port"] for p in prod.find("Service", "inferadb").manifest["spec"]["ports"]}
    assert ports == {"http": 8080, "grpc": 8081, "mesh": 8082}


@pytest.mark.parametrize(
    ("service", "low", "high", "metrics"),
    [
        ({"preset": "fastapi"}, 3, 20, [cpu(70), pods("request_queue_depth", "10")]),
        ({"preset": "fastapi", "autoscaling": {"metrics": "resource"}}, 3, 20, [cpu(70)]),
        ({"preset": "inferadb"}, 5, 50, [cpu(70), pods("inferadb_requests_per_second", "1000")]),
        ({"preset": "inferadb", "autoscaling": {"metrics": "resource"}}, 3, 20, [cpu(70)]),
    ],
)
def test_without_a_demand_the_preset_speaks(
    render_services: Callable[..., Rendered], service: dict[str, Any], low: int, high: int, metrics: list[Any]
) -> None:
    spec = hpa(render_services("staging", thing=service), "thing")
    assert (spec["minReplicas"], spec["maxReplicas"], spec["metrics"]) == (low, high, metrics)
    assert spec["behavior"] == BEHAVIOR


@pytest.mark.parametrize(
    ("service", "paths", "port"),
    [
        ({"preset": "fastapi"}, ("/health/live", "/health/ready", "/health/live"), 8080),
        ({"preset": "inferadb"}, ("/health/startup", "/health/ready", "/health/live"), 8080),
        (
            {"preset": "inferadb", "presetProfile": "current", "autoscaling": {"metrics": "resource"}},
            ("/startupz", "/readyz", "/livez"),
            8080,
        ),
        ({"preset": "mage"}, ("/api/status", "/api/status", "/api/status"), 6789),
    ],
)
def test_probes(
    render_services: Callable[..., Rendered], service: dict[str, Any], paths: tuple[str, str, str], port: int
) -> None:
    found = container(render_services(thing=service), "thing")
    for probe, path in zip(("startupProbe", "readinessProbe", "livenessProbe"), paths, strict=True):
        assert found[probe]["httpGet"] == {"path": path, "port": "http"}
    assert {"name": "http", "containerPort": port, "protocol": "TCP"} in found["ports"]


def test_inferadb_of_today_takes_its_threads_and_cache_by_other_names(render_services: Callable[..., Rendered]) -> None:
    service = {"preset": "inferadb", "presetProfile": "current", "autoscaling": {"metrics": "resource"}}
    stack = render_services(thing=service)
    assert environment(stack, "thing") == {
        "INFERADB__ENGINE__THREADS": "4",
        "INFERADB__ENGINE__CACHE__CAPACITY": "2000000",
    }
    annotations = stack.find("Deployment", "thing").manifest["spec"]["template"]["metadata"].get("annotations", {})
    assert not [name for name in annotations if name.startswith("prometheus.io/")], "it has no /metrics to scrape"


def test_mage_may_run_its_blocks_as_jobs(render_services: Callable[..., Rendered]) -> None:
    stack = render_services(mage={"preset": "mage"})
    rules = stack.find("Role", "mage").manifest["rules"]
    assert {"create", "delete", "get"} <= {v for r in rules if "jobs" in r["resources"] for v in r["verbs"]}
    spec = hpa(stack, "mage")
    assert (spec["minReplicas"], spec["maxReplicas"], spec["metrics"]) == (1, 5, [cpu(70)])
