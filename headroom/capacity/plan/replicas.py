"""How many pods: at the target, at the least and at the most, and which constraint decided."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil

from headroom.capacity.demand.services import Load
from headroom.capacity.plan import latency
from headroom.capacity.plan.context import PodQueue, ServiceContext, milliseconds
from headroom.capacity.plan.model import Sized
from headroom.capacity.plan.presets import TIERS, bounds
from headroom.capacity.plan.sizing import checked_pods, grown, overridden, refusal
from headroom.capacity.quantities import figure


@dataclass(frozen=True)
class Replicas:
    at_target: Sized[int]
    least: Sized[int]
    most: Sized[int]


def plan_replicas(
    it: ServiceContext, queue: PodQueue | None, margin: Sized[Decimal], available: Sized[int]
) -> Replicas:
    """The bounds of a service. Raises InputError where no count can meet its demand."""
    load = it.demand.demand
    if load is None:
        found = _without_demand(it)
    elif it.demand.preset == "mage":
        found = _for_jobs(it, load, margin, available)
    else:
        found = _for_requests(it, load, queue, margin, available)
    return _emergency(it, found)


def _without_demand(it: ServiceContext) -> Replicas:
    low, high, source = bounds(it.demand)
    bound = "tier" if it.demand.tier else "preset"
    why = f"no demand is given: {source}"
    least = overridden(Sized("minReplicas", low, "pods", why, bound), it.demand.override)
    most = overridden(Sized("maxReplicas", max(high, least.value), "pods", why, bound), it.demand.override)
    at_target = Sized("replicasAtTarget", least.value, "pods", "no demand is given: minReplicas", bound)
    return Replicas(at_target, least, most)


def _for_jobs(it: ServiceContext, load: Load, margin: Sized[Decimal], available: Sized[int]) -> Replicas:
    assert load.jobs_per_hour and load.mean_duration and load.concurrency  # noqa: S101 - the demand has checked it
    hourly = grown(load.jobs_per_hour, load.growth, it.months)
    running = hourly * Fraction(load.mean_duration) / 3600
    count = checked_pods(it.path("demand.jobsPerHour"), max(1, ceil(running / load.concurrency)), hourly)
    work = f"{figure(hourly)} jobs/h × {figure(load.mean_duration)} s / 3600 / {load.concurrency} a pod"
    at_target = Sized("replicasAtTarget", count, "pods", f"ceil({work}) = {count}", "throughput")
    half = max(1, ceil(running / 2 / load.concurrency))
    least = _least(it, {"throughput": (half, f"ceil(half of {work}) = {half}")}, available)
    spare = ceil(count * Fraction(margin.value))
    most = _most(it, {"throughput": (spare, f"ceil({count} × {figure(margin.value)}) = {spare}")}, least)
    return Replicas(at_target, least, most)


def _for_requests(
    it: ServiceContext, load: Load, queue: PodQueue | None, margin: Sized[Decimal], available: Sized[int]
) -> Replicas:
    assert load.target_rps is not None  # noqa: S101 - the demand has checked it
    target = grown(load.target_rps, load.growth, it.months)
    baseline = _baseline(it, load)
    each = Fraction(TIERS[it.demand.tier].rps_per_pod if it.demand.tier else it.demand.measured.rps_per_pod or 1)
    if it.months:
        why = f"{figure(load.target_rps)} × (1 + {figure(load.growth or 0)})^({it.months}/12)"
        it.assumptions.append(Sized("targetRps", rounded(target), "rps", why, "growth"))
    path = it.path("demand.targetRps")
    for_rate = checked_pods(path, ceil(target / each), target)
    slow = latency_pods(it, load, queue, target)
    rate = f"{figure(target)} rps / {figure(each)} a pod"
    terms = {"throughput": (for_rate, f"ceil({rate}) = {for_rate}")}
    if load.latency is not None:
        terms["latency"] = (slow, f"{slow} for p99 ≤ {milliseconds(load.latency.p99)}")
    at_target = _largest("replicasAtTarget", terms)

    low = checked_pods(path, ceil(baseline / each), target)
    terms = {"throughput": (low, f"ceil({figure(baseline)} rps / {figure(each)} a pod) = {low}")}
    if load.latency is not None:
        slow_low = latency_pods(it, load, queue, baseline)
        terms["latency"] = (slow_low, f"{slow_low} for p99 ≤ {milliseconds(load.latency.p99)}")
    least = _least(it, terms, available)

    factor = Fraction(margin.value)
    high = checked_pods(path, ceil(target / each * factor), target)
    terms = {"throughput": (high, f"ceil({rate} × {figure(margin.value)}) = {high}")}
    if load.latency is not None:
        slow_high = checked_pods(path, ceil(slow * factor), target)
        terms["latency"] = (slow_high, f"ceil({slow} × {figure(margin.value)}) = {slow_high} for the latency")
    most = _most(it, terms, least)
    _check_clamp(it, most, at_target, target, each)
    return Replicas(at_target, least, most)


def _baseline(it: ServiceContext, load: Load) -> Fraction:
    given = load.baseline_rps
    if given is None:
        given = (load.target_rps or Decimal(0)) / 2
        it.assumptions.append(Sized("baselineRps", given, "rps", "half of targetRps, where it is not given", "default"))
    return grown(given, load.growth, it.months)


def latency_pods(it: ServiceContext, load: Load, queue: PodQueue | None, rate: Fraction) -> int:
    if load.latency is None or queue is None:
        return 0
    sla = load.latency.p99
    path, least = it.path("demand.latency.p99"), queue.floormilliseconds()
    if 1000 * float(sla) < least or (queue.cv > latency.CONSTANT and 1000 * float(sla) <= least):
        raise refusal(
            path,
            f"is {milliseconds(sla)}, and infeasible at any replica count: an idle pod has a p99 of {least:.4g} ms "
            f"(mean service time {milliseconds(queue.service)}, coefficient of variation {figure(queue.cv)})",
            f"ask for {ceil(least * 1.1)}ms or more, or make a request faster",
        )
    count = queue.pods(sla, rate)
    if count is None:
        raise refusal(
            path,
            f"is {milliseconds(sla)}, so near the floor of {least:.4g} ms that {latency.MOST_PODS:,} pods miss it",
            f"ask for {ceil(least * 1.1)}ms or more, or make a request faster",
        )
    return count


def _least(it: ServiceContext, terms: dict[str, tuple[int, str]], available: Sized[int]) -> Sized[int]:
    count = available.value + 1
    terms = {**terms, "availability": (count, f"minAvailable {available.value} + 1 = {count}")}
    return overridden(_clamped(it, _largest("minReplicas", terms)), it.demand.override)


def _most(it: ServiceContext, terms: dict[str, tuple[int, str]], least: Sized[int]) -> Sized[int]:
    terms = {**terms, "minReplicas": (least.value, f"minReplicas {least.value}")}
    return overridden(_clamped(it, _largest("maxReplicas", terms)), it.demand.override)


def _largest(setting: str, terms: dict[str, tuple[int, str]]) -> Sized[int]:
    bound = max(terms, key=lambda name: terms[name][0])
    shown = [words for _, words in terms.values()]
    why = shown[0] if len(shown) == 1 else f"max({'; '.join(shown)}) = {terms[bound][0]}"
    return Sized(setting, terms[bound][0], "pods", why, bound)


def _clamped(it: ServiceContext, found: Sized[int]) -> Sized[int]:
    """Inside the bounds of the tier, where there is one."""
    if it.demand.tier is None:
        return found
    low, high = TIERS[it.demand.tier].replicas
    value = min(max(found.value, low), high)
    if value == found.value:
        return found
    why = f"{found.because}, held to {low}-{high} by tier {it.demand.tier}"
    return Sized(found.setting, value, found.unit, why, "tier")


def _check_clamp(it: ServiceContext, most: Sized[int], at_target: Sized[int], target: Fraction, each: Fraction) -> None:
    if most.bound_by != "tier" or it.demand.tier is None:
        return
    if most.value < at_target.value:
        carried = most.value * each
        it.warn(
            f"tier {it.demand.tier} ends at {most.value} pods, which carry {figure(carried)} of the {figure(target)} "
            f"rps asked: {figure(target - carried)} rps are missed; measure a profile, or use a larger tier"
        )
    elif most.value == TIERS[it.demand.tier].replicas[1]:
        it.warn(
            f"tier {it.demand.tier} ends at {most.value} pods: the target is met, the safety margin is not "
            f"({most.because})"
        )


def _emergency(it: ServiceContext, found: Replicas) -> Replicas:
    emergency = it.demand.emergency_replicas
    if emergency is None:
        return found
    count = emergency.value
    if count < found.least.value:
        raise refusal(
            it.path("emergencyReplicas.value"),
            f"is {count}, and minReplicas is {found.least.value} already: an emergency raises",
            f"{found.least.value} or more, or remove emergencyReplicas",
        )
    why = f"{emergency.because} (without it: {{}})"
    least = Sized("minReplicas", count, "pods", why.format(found.least.value), "emergency")
    most = found.most
    if count > most.value:
        most = Sized("maxReplicas", count, "pods", why.format(most.value), "emergency")
    return Replicas(found.at_target, least, most)


def rounded(value: Fraction) -> Decimal:
    return round(Decimal(value.numerator) / Decimal(value.denominator), 3)
