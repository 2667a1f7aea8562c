"""Canary, emergency, maintenance, and the two kinds of autoscaler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headroom.engine.rendered import Rendered

KEDA = {"metrics": "keda", "prometheusAddress": "http://prometheus.monitoring:9090"}
RenderServices = Callable[..., Rendered]


def kinds(stack: Rendered) -> set[str]:
    return {o.id.kind for o in stack.objects}


def test_a_canary_is_a_second_deployment_behind_the_same_service(render_services: RenderServices) -> None:
    canary = {"image": "registry.example/inference:2.0.0", "weight": 0.2}
    demand = {"demand": {"targetRps": 1000}, "profile": {"rpsPerPod": 100}}
    stack = render_services("staging", inference={"preset": "fastapi", "canary": canary, **demand})
    stable, second = (
        stack.find("Deployment", "inference").manifest,
        stack.find("Deployment", "inference-canary").manifest,
    )

    assert second["spec"]["replicas"] == 2, "a fifth of the ten pods at the target"
    assert second["spec"]["template"]["spec"]["containers"][0]["image"] == "registry.example/inference:2.0.0"
    assert second["metadata"]["labels"]["app.kubernetes.io/version"] == "2.0.0"
    assert stable["metadata"]["labels"]["app.kubernetes.io/version"] == "1.0.0"

    pods = [d["spec"]["template"]["metadata"]["labels"] for d in (stable, second)]
    behind = stack.find("Service", "inference").manifest["spec"]["selector"]
    assert all(behind.items() <= labels.items() for labels in pods)
    counted = [d["spec"]["selector"]["matchLabels"] for d in (stable, second)]
    assert counted[0].items() <= pods[0].items() and not counted[0].items() <= pods[1].items()
    assert counted[1].items() <= pods[1].items() and not counted[1].items() <= pods[0].items()
    target = stack.find("HorizontalPodAutoscaler", "inference-hpa").manifest["spec"]["scaleTargetRef"]["name"]
    assert target == "inference"


def test_an_emergency_raises_both_bounds(
    config: Callable[[str], dict[str, Any]], render_config: Callable[..., Rendered]
) -> None:
    prod = config("prod")
    prod["headroom:services"]["inference"]["emergencyReplicas"] = {"value": 30, "because": "a launch on television"}
    spec = render_config(prod, "prod").find("HorizontalPodAutoscaler", "inference-hpa").manifest["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (30, 30)


def test_maintenance_suspends_an_hpa_by_no_replicas(render_services: RenderServices) -> None:
    stack = render_services(inference={"preset": "fastapi", "maintenance": True})
    assert stack.find("Deployment", "inference").manifest["spec"]["replicas"] == 0
    assert stack.find("HorizontalPodAutoscaler", "inference-hpa").manifest["spec"]["minReplicas"] >= 1


def test_maintenance_pauses_keda_and_leaves_the_deployment_alone(render_services: RenderServices) -> None:
    stack = render_services(inference={"preset": "fastapi", "maintenance": True, "autoscaling": KEDA})
    assert "replicas" not in stack.find("Deployment", "inference").manifest["spec"]
    annotations = stack.find("ScaledObject", "inference-hpa").manifest["metadata"]["annotations"]
    assert annotations["autoscaling.keda.sh/paused-replicas"] == "0"


@pytest.mark.parametrize("autoscaling", [{}, KEDA], ids=["hpa", "keda"])
def test_maintenance_stops_the_canary_too(render_services: RenderServices, autoscaling: dict[str, Any]) -> None:
    canary = {"image": "registry.example/inference:2.0.0", "weight": 0.5}
    service = {"preset": "fastapi", "canary": canary, "maintenance": True, "autoscaling": autoscaling}
    stack = render_services(inference=service)
    assert stack.find("Deployment", "inference-canary").manifest["spec"]["replicas"] == 0


def test_keda_instead_of_an_hpa(render_services: RenderServices) -> None:
    schedule = [{"start": "0 8 * * 1-5", "end": "0 20 * * 1-5", "minReplicas": 8, "timezone": "Europe/Berlin"}]
    service = {"preset": "fastapi", "autoscaling": {**KEDA, "schedule": schedule}}
    stack = render_services("staging", inference=service)
    assert "HorizontalPodAutoscaler" not in kinds(stack)
    found = stack.find("ScaledObject", "inference-hpa").manifest
    assert "autoscaling.keda.sh/paused-replicas" not in found["metadata"]["annotations"]
    spec = found["spec"]
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "inference"}
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (3, 20)
    assert spec["fallback"]["behavior"] == "currentReplicasIfHigher"
    assert spec["triggers"] == [
        {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "70"}},
        {
            "type": "prometheus",
            "metricType": "AverageValue",
            "metadata": {
                "serverAddress": "http://prometheus.monitoring:9090",
                "query": 'sum(request_queue_depth{namespace="ml",pod=~"inference-[a-z0-9]+-[a-z0-9]+"})',
                "threshold": "10",
                "ignoreNullValues": "false",
            },
        },
        {
            "type": "cron",
            "metadata": {
                "timezone": "Europe/Berlin",
                "start": "0 8 * * 1-5",
                "end": "0 20 * * 1-5",
                "desiredReplicas": "8",
            },
        },
    ]


def test_inferadb_of_today_is_scaled_by_the_rate_of_its_counter(render_services: RenderServices) -> None:
    stack = render_services(authz={"preset": "inferadb", "presetProfile": "current", "autoscaling": KEDA})
    triggers = stack.find("ScaledObject", "authz-hpa").manifest["spec"]["triggers"]
    (query,) = [t["metadata"]["query"] for t in triggers if t["type"] == "prometheus"]
    assert query == 'sum(rate(inferadb_api_requests_total{namespace="ml",pod=~"authz-[a-z0-9]+-[a-z0-9]+"}[2m]))'


def test_mage_is_scaled_by_the_queue_in_its_database(render_services: RenderServices) -> None:
    stack = render_services(mage={"preset": "mage", "autoscaling": {"metrics": "keda"}})
    triggers = stack.find("ScaledObject", "mage-hpa").manifest["spec"]["triggers"]
    (queue,) = [t["metadata"] for t in triggers if t["type"] == "postgresql"]
    assert queue["connectionFromEnv"] == "MAGE_DATABASE_CONNECTION_URL"
    assert "block_run" in queue["query"] and "'queued'" in queue["query"]
    assert int(queue["targetQueryValue"]) > 0


def test_a_public_service_is_open_to_callers_from_anywhere(render_services: RenderServices) -> None:
    exposure = {"type": "LoadBalancer", "because": "partners call it"}
    stack = render_services(inside={"preset": "fastapi"}, outside={"preset": "fastapi", "service": exposure})
    ingress = {k: stack.find("NetworkPolicy", k).manifest["spec"]["ingress"][0] for k in ("inside", "outside")}
    assert "from" not in ingress["outside"]
    (peer,) = ingress["inside"]["from"]
    assert peer["namespaceSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "dev"
    assert stack.find("Service", "outside").manifest["spec"]["type"] == "LoadBalancer"
