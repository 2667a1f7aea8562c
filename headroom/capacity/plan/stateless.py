"""Settings of one stateless service."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from math import ceil, floor

from headroom.capacity.demand.services import Limits, ServiceDemand
from headroom.capacity.plan.autoscaling import autoscaling_plan
from headroom.capacity.plan.context import PodQueue, ServiceContext, milliseconds
from headroom.capacity.plan.model import (
    CanaryPlan,
    Caution,
    DrainPlan,
    Environment,
    Resources,
    ServiceExposure,
    ServicePlan,
    Sized,
)
from headroom.capacity.plan.prediction import cpu_target, predicted_p99, queue_limit
from headroom.capacity.plan.presets import (
    CACHE_ENTRIES_PER_GIB,
    GRACE_SPARE_SECONDS,
    PRE_STOP_SECONDS,
    PRESETS,
    SAFETY_MARGIN,
    SURGE_PERCENT,
    TIERS,
)
from headroom.capacity.plan.replicas import plan_replicas
from headroom.capacity.plan.sizing import given_or, overridden, refusal, resources
from headroom.capacity.quantities import GI, cores, cpu_text, figure, memory_text, octets


@dataclass(frozen=True)
class Planned:
    """A service's plan, the assumptions behind it as further lines, and what to know of it."""

    plan: ServicePlan
    assumptions: tuple[Sized[int] | Sized[Decimal], ...]
    warnings: tuple[Caution, ...]


def plan_service(key: str, demand: ServiceDemand, namespace: str, environment: Environment, months: int = 0) -> Planned:
    """Size one service. Raises InputError where no size can meet its demand."""
    it = ServiceContext(key, demand, environment, months)
    size = _resources(it)
    threads = _threads(it, size)
    queue = _queue(it, size, threads)
    margin = given_or("safetyMargin", demand.safety_margin, SAFETY_MARGIN, key="safetyMargin")
    available = given_or(
        "minAvailable",
        demand.min_available,
        1 if environment in ("local", "dev") else 2,
        "pods",
        key="minAvailable",
        why=f"default in {environment}",
    )
    replicas = plan_replicas(it, queue, margin, available)
    utilization = cpu_target(it, queue, size, replicas)
    scaling = autoscaling_plan(
        key, demand, margin=margin, least=replicas.least, most=replicas.most, cpu_target=utilization
    )
    drain = _drain(it)
    surge = _surge(replicas.most.value)
    plan = ServicePlan(
        key=key,
        preset=demand.preset,
        profile=demand.preset_profile,
        namespace=demand.namespace or namespace,
        image=_image(it),
        env=dict(demand.env),
        resources=size,
        min_replicas=replicas.least,
        max_replicas=replicas.most,
        replicas_at_target=replicas.at_target,
        predicted_p99_ms=predicted_p99(it, queue, replicas.at_target.value),
        autoscaling=scaling,
        min_available=available if replicas.least.value > available.value else None,
        worker_threads=threads,
        queue_limit=queue_limit(it, queue, scaling.pods_metric),
        cache_capacity=_cache(it, size),
        connections_per_pod=given_or(
            "connectionsPerPod",
            demand.connections_per_pod,
            PRESETS[demand.preset].connections,
            "connections",
            key="connectionsPerPod",
            why=f"default of preset {demand.preset}",
        ),
        surge_pods=surge,
        drain=drain,
        canary=_canary(it, replicas.at_target.value),
        maintenance=demand.maintenance,
        exposure=ServiceExposure(
            type=demand.service.type,
            annotations=dict(demand.service.annotations),
            because=demand.service.because,
            max_rps=demand.service.load_balancer.max_rps if demand.service.load_balancer else None,
        ),
        existing_secret=demand.existing_secret,
    )
    if demand.demand is not None:
        it.assumptions.insert(0, margin)
    return Planned(plan, tuple(it.assumptions), tuple(it.warnings))


def _resources(it: ServiceContext) -> Resources:
    measured, preset = it.demand.measured, PRESETS[it.demand.preset]
    if it.demand.tier is not None:
        tier = TIERS[it.demand.tier]
        cpu = Sized("cpuRequest", tier.cpu, "", f"tier {it.demand.tier}", "tier")
        memory = Sized("memoryRequest", tier.memory, "", f"tier {it.demand.tier}", "tier")
    else:
        why = f"default of preset {it.demand.preset}"
        cpu = given_or("cpuRequest", measured.cpu, preset.cpu, key="profile.cpu", why=why)
        memory = given_or("memoryRequest", measured.memory, preset.memory, key="profile.memory", why=why)
    if (given := it.demand.override.get("cpuRequest")) is not None:
        cpu = Sized(
            "cpuRequest", Decimal(given.value), "", f"{given.because} (computed: {cpu_text(cpu.value)})", "override"
        )
    if (given := it.demand.override.get("memoryRequest")) is not None:
        why = f"{given.because} (computed: {memory_text(memory.value)})"
        memory = Sized("memoryRequest", int(given.value), "", why, "override")
    limits = it.demand.limits or Limits()
    return resources(f"services.{it.key}", cpu, memory, limits.cpu, limits.memory)


def _threads(it: ServiceContext, size: Resources) -> Sized[int] | None:
    if it.demand.preset == "mage":
        return None
    limit = size.cpu_limit.value
    given = it.demand.measured.worker_threads
    if given is not None:
        found = _measured_threads(it, given, limit)
    else:
        count = ceil(cores(limit))
        found = Sized("workerThreads", count, "threads", f"ceil(cpu limit {limit}) = {count}", "cpu")
    return overridden(found, it.demand.override)


def _measured_threads(it: ServiceContext, given: int, limit: str) -> Sized[int]:
    """Threads as measured; a pod that an override made larger or smaller has them in proportion to its CPU limit."""
    changed = it.demand.override.get("cpuRequest")
    ceiling = it.demand.limits.cpu if it.demand.limits else None
    if changed is None or ceiling is not None:
        return Sized("workerThreads", given, "threads", "given in profile.workerThreads", "given")
    measured_at = it.demand.measured.cpu or PRESETS[it.demand.preset].cpu
    count = max(1, ceil(given * Fraction(changed.value) / Fraction(measured_at)))
    why = f"ceil(profile.workerThreads {given} × cpu {cpu_text(changed.value)} / {cpu_text(measured_at)}) = {count}"
    return Sized("workerThreads", count, "threads", why, "cpu")


def _queue(it: ServiceContext, size: Resources, threads: Sized[int] | None) -> PodQueue | None:
    measured = it.demand.measured
    if measured.service_time is None or threads is None:
        return None
    cv = given_or(
        "serviceTimeCv",
        measured.service_time_cv,
        Decimal(1),
        key="profile.serviceTimeCv",
        why="default: exponential service times; measure it",
    )
    it.assumptions.append(cv)
    servers = threads.value
    if measured.cpu_time is not None:
        limit = cores(size.cpu_limit.value)
        on_cpu = max(1, floor(Fraction(limit) * Fraction(measured.service_time) / Fraction(measured.cpu_time)))
        servers = min(servers, on_cpu)
        why = f"min({threads.value} threads, max(1, floor({figure(limit)} cores × {milliseconds(measured.service_time)}"
        why += f" / {milliseconds(measured.cpu_time)} of CPU a request))) = {servers}"
        it.assumptions.append(
            Sized("servingThreads", servers, "threads", why, "cpu" if servers < threads.value else "threads")
        )
    if cv.value > 1:
        it.warn(f"serviceTimeCv is {figure(cv.value)}: above 1 the predicted p99 is within 18 % of simulation, not 8 %")
    return PodQueue(servers, measured.service_time, cv.value)


def _cache(it: ServiceContext, size: Resources) -> Sized[int] | None:
    if it.demand.preset != "inferadb":
        return None
    memory = size.memory_request.value
    gib = Fraction(octets(memory), GI)
    count = floor(CACHE_ENTRIES_PER_GIB * gib)
    why = f"{CACHE_ENTRIES_PER_GIB:,} × {figure(gib)} GiB of memory = {count:,}"
    return overridden(Sized("cacheCapacity", count, "entries", why, "memory"), it.demand.override)


def _surge(most: int) -> Sized[int]:
    count = ceil(Fraction(most * SURGE_PERCENT, 100))
    return Sized("surgePods", count, "pods", f"ceil(maxSurge {SURGE_PERCENT} % × {most}) = {count}", "rolling update")


def _canary(it: ServiceContext, pods: int) -> CanaryPlan | None:
    canary = it.demand.canary
    if canary is None:
        return None
    count = max(1, int((canary.weight * pods).to_integral_value(ROUND_HALF_UP)))
    why = f"max(1, round({figure(canary.weight)} × {pods} pods)) = {count}"
    return CanaryPlan(canary.image, canary.weight, Sized("canaryReplicas", count, "pods", why, "weight"))


def _drain(it: ServiceContext) -> DrainPlan:
    given, preset = it.demand.drain, PRESETS[it.demand.preset]
    stop = PRE_STOP_SECONDS if given is None or given.pre_stop is None else given.pre_stop
    drain = preset.drain_seconds if given is None or given.timeout is None else given.timeout
    least = stop + drain + GRACE_SPARE_SECONDS
    why = f"preStop {stop} s + drain {drain} s + {GRACE_SPARE_SECONDS} s = {least}"
    grace = Sized("terminationGracePeriodSeconds", least, "s", why, "drain")
    if given is not None and given.grace_period is not None:
        if given.grace_period < least:
            raise refusal(
                it.path("drain.gracePeriod"),
                f"is {given.grace_period} s, and must be at least {why}",
                f"{least}s or more",
            )
        grace = Sized(grace.setting, given.grace_period, "s", f"given in drain.gracePeriod; at least {why}", "given")
    return DrainPlan(stop, drain, grace)


def _image(it: ServiceContext) -> str:
    preset = PRESETS[it.demand.preset]
    if it.demand.image is not None:
        return it.demand.image
    if preset.image_is_ours and it.environment != "local":
        it.warn(f"no image is given: {preset.image} is what the local cluster builds, and no other cluster can pull it")
    elif not preset.image_is_ours:
        it.warn(f"no image is given: {preset.image} is assumed; set headroom:{it.path('image')} to what you tested")
    return preset.image
