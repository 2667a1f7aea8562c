"""Autoscalers: at their end, blind, or without the metric that they were given."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan, ServicePlan
from monitoring.model import Alert, Group, pods, quoted, series
from monitoring.rules.services import COUNTERS, pattern


def group(plan: Plan) -> Group:
    alerts = [alert for service in plan.services if not service.maintenance for alert in _of(service)]
    return Group("autoscalers", tuple(alerts))


def _of(service: ServicePlan) -> Iterator[Alert]:
    labels = (("service", service.key),)
    keda = service.autoscaling.source == "keda"
    name = f"keda-hpa-{service.key}-hpa" if keda else f"{service.key}-hpa"
    least, most = service.min_replicas.value, service.max_replicas.value
    if most > least:
        replicas = series(
            "kube_horizontalpodautoscaler_status_current_replicas",
            namespace=service.namespace,
            horizontalpodautoscaler=name,
        )
        yield Alert(
            "AutoscalerAtMaximum",
            f"max({replicas}) >= {most}",
            15,
            "warning",
            f"{service.key} cannot grow any more",
            f"It has had its maximum of {most} pods for a quarter of an hour ({quoted(service.max_replicas.because)}).",
            labels,
        )
    blind = series(
        "kube_horizontalpodautoscaler_status_condition",
        namespace=service.namespace,
        horizontalpodautoscaler=name,
        condition="ScalingActive",
        status="false",
    )
    yield Alert(
        "AutoscalerBlind",
        f"max({blind}) == 1",
        5,
        "critical",
        f"the autoscaler of {service.key} cannot scale",
        "It does not get its metrics, so it keeps the pods that there are whatever the load.",
        labels,
    )
    metric = service.autoscaling.pods_metric
    if metric is not None and (service.preset, service.profile) in COUNTERS:
        there = series(metric.name, pods(pattern(service)), namespace=service.namespace)
        yield Alert(
            "ScalingMetricMissing",
            f"absent({there})",
            5,
            "critical",
            f"nobody emits what {service.key} scales on",
            f"Prometheus has no {metric.name} of its pods.",
            labels,
        )
    if keda:
        errors = series("keda_scaled_object_errors_total", scaledObject=f"{service.key}-hpa")
        yield Alert(
            "ScaledObjectErrors",
            f"sum(increase({errors}[10m])) > 3",
            5,
            "warning",
            f"KEDA cannot read the triggers of {service.key}",
            "{{ $value | humanize }} errors in ten minutes; after three in a row it holds the replicas that it has.",
            labels,
        )
