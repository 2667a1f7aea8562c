"""What an autoscaler watches, and the average at which it holds it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from math import floor

from headroom.capacity.demand.services import ServiceDemand
from headroom.capacity.plan.model import AutoscalingPlan, PodsMetric, ScalingPolicy, ScheduleWindow, Sized
from headroom.capacity.plan.presets import PRESETS, SCALE_DOWN, SCALE_UP, TIERS
from headroom.capacity.plan.sizing import given_or, refusal
from headroom.capacity.quantities import figure


def autoscaling_plan(
    key: str,
    demand: ServiceDemand,
    *,
    margin: Sized[Decimal],
    least: Sized[int],
    most: Sized[int],
    cpu_target: Sized[int],
) -> AutoscalingPlan:
    """The one autoscaler of a service. Raises InputError for a scheduled floor above the most replicas."""
    scaling = demand.autoscaling
    for place, window in enumerate(scaling.schedule):
        if window.min_replicas > most.value:
            raise refusal(
                f"services.{key}.autoscaling.schedule[{place}].minReplicas",
                f"is {window.min_replicas}, above maxReplicas {most.value}",
                f"at most {most.value}, or raise maxReplicas by an override with a reason",
            )
    return AutoscalingPlan(
        source=demand.metrics,
        min_replicas=least,
        max_replicas=most,
        cpu_utilization=cpu_target,
        memory_utilization=scaling.memory_utilization,
        pods_metric=_metric(demand, margin),
        scale_up=_within(SCALE_UP, scaling.scale_up_window),
        scale_down=_within(SCALE_DOWN, scaling.scale_down_window),
        schedule=tuple(ScheduleWindow(w.start, w.end, w.min_replicas, w.timezone) for w in scaling.schedule),
        prometheus_address=scaling.prometheus_address,
    )


def _within(policy: ScalingPolicy, seconds: int | None) -> ScalingPolicy:
    return policy if seconds is None else replace(policy, window_seconds=seconds)


def _metric(demand: ServiceDemand, margin: Sized[Decimal]) -> PodsMetric | None:
    metric = PRESETS[demand.preset].metric
    if metric is None or demand.metrics == "resource":
        return None
    name, setting, default = metric
    if demand.preset == "fastapi":
        given = demand.autoscaling.request_queue_depth
        return PodsMetric(name, given_or(setting, given, default, "requests", key=f"autoscaling.{setting}"))
    if demand.preset == "mage":
        given = demand.demand.concurrency if demand.demand else None
        return PodsMetric(name, given_or(setting, given, default, "blocks", key="demand.concurrency"))
    return PodsMetric(name, _requests_per_second(demand, margin, setting, default))


def _requests_per_second(demand: ServiceDemand, margin: Sized[Decimal], setting: str, default: int) -> Sized[int]:
    given = demand.autoscaling.requests_per_second
    each = TIERS[demand.tier].rps_per_pod if demand.tier else demand.measured.rps_per_pod
    if given is not None or each is None:
        return given_or(setting, given, default, "rps", key=f"autoscaling.{setting}", why="default without a profile")
    value = max(1, floor(Fraction(each) / Fraction(margin.value)))
    why = f"floor({figure(each)} rps a pod / {figure(margin.value)}) = {value:,}"
    return Sized(setting, value, "rps", why, "throughput")
