"""The one autoscaler that owns a Deployment's replicas: an HPA, or a KEDA ScaledObject."""

from __future__ import annotations

from components.metadata import Identity
from components.objects import Manifest
from components.stateless.presets import Preset
from headroom.capacity.plan.model import AutoscalingPlan, ScalingPolicy, ServicePlan
from headroom.errors import InputError

PAUSED = "autoscaling.keda.sh/paused-replicas"
HPA_OWNERSHIP = "validations.keda.sh/hpa-ownership"


def hpa_spec(plan: AutoscalingPlan, owner: Identity) -> Manifest:
    """`spec` of an `autoscaling/v2` HorizontalPodAutoscaler over the Deployment `owner.name`."""
    metrics: list[Manifest] = []
    if plan.cpu_utilization:
        metrics.append(_utilization("cpu", plan.cpu_utilization.value))
    if plan.memory_utilization is not None:
        metrics.append(_utilization("memory", plan.memory_utilization))
    if plan.pods_metric:
        target = {"type": "AverageValue", "averageValue": str(plan.pods_metric.average.value)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": plan.pods_metric.name}, "target": target}})
    return {
        "scaleTargetRef": _target(owner),
        "minReplicas": plan.min_replicas.value,
        "maxReplicas": plan.max_replicas.value,
        "metrics": metrics,
        "behavior": _behavior(plan),
    }


def scaled_object_spec(service: ServicePlan, preset: Preset, owner: Identity) -> Manifest:
    """`spec` of a KEDA ScaledObject over the Deployment `owner.name`.

    Raises InputError when its metric has no Prometheus to come from.
    """
    plan = service.autoscaling
    external = _external_triggers(service, preset, owner)
    utilization = [("cpu", plan.cpu_utilization.value if plan.cpu_utilization else None)]
    utilization.append(("memory", plan.memory_utilization))
    triggers = [
        {"type": kind, "metricType": "Utilization", "metadata": {"value": str(value)}}
        for kind, value in utilization
        if value is not None
    ]
    triggers += external
    triggers += [
        {
            "type": "cron",
            "metadata": {
                "timezone": window.timezone,
                "start": window.start,
                "end": window.end,
                "desiredReplicas": str(window.min_replicas),
            },
        }
        for window in plan.schedule
    ]
    spec: Manifest = {
        "scaleTargetRef": _target(owner),
        "pollingInterval": 15,
        "minReplicaCount": plan.min_replicas.value,
        "maxReplicaCount": plan.max_replicas.value,
        "advanced": {"horizontalPodAutoscalerConfig": {"behavior": _behavior(plan)}},
        "triggers": triggers,
    }
    if external:
        # Blind, it holds what it has, and at least what the target needs.
        spec["fallback"] = {
            "failureThreshold": 3,
            "replicas": service.replicas_at_target.value,
            "behavior": "currentReplicasIfHigher",
        }
    return spec


def _external_triggers(service: ServicePlan, preset: Preset, owner: Identity) -> list[Manifest]:
    metric = service.autoscaling.pods_metric
    if metric is None:
        return []
    if preset.queue_query and preset.database_env:
        return [
            {
                "type": "postgresql",
                "metricType": "AverageValue",
                "metadata": {
                    "connectionFromEnv": preset.database_env,
                    "query": preset.queue_query,
                    "targetQueryValue": str(metric.average.value),
                },
            }
        ]
    if service.autoscaling.prometheus_address is None:
        raise InputError(
            f"service {service.key!r} scales on {metric.name} through KEDA, and no Prometheus is named",
            fix=f"set services.{service.key}.autoscaling.prometheusAddress, for example http://prometheus.monitoring:9090",
        )
    # `inference-<template>-<pod>`: the canary's pods have one part more, and are not this autoscaler's to count.
    matching = f'{{namespace="{owner.namespace}",pod=~"{owner.name}-[a-z0-9]+-[a-z0-9]+"}}'
    series = f"rate({preset.requests_counter}{matching}[2m])" if preset.requests_counter else metric.name + matching
    return [
        {
            "type": "prometheus",
            "metricType": "AverageValue",
            "metadata": {
                "serverAddress": service.autoscaling.prometheus_address,
                "query": f"sum({series})",
                "threshold": str(metric.average.value),
                # An answer without data is a failure, not a zero that would scale a busy service down.
                "ignoreNullValues": "false",
            },
        }
    ]


def _target(owner: Identity) -> Manifest:
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": owner.name}


def _utilization(resource: str, percent: int) -> Manifest:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": resource, "target": target}}


def _behavior(plan: AutoscalingPlan) -> Manifest:
    def rules(policy: ScalingPolicy) -> Manifest:
        step = {"type": "Percent", "value": policy.percent, "periodSeconds": policy.period_seconds}
        return {"stabilizationWindowSeconds": policy.window_seconds, "policies": [step]}

    return {"scaleDown": rules(plan.scale_down), "scaleUp": rules(plan.scale_up)}
