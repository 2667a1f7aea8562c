"""What latency a pod will have, and at which CPU target and with how many who wait it still keeps its promise."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil, floor, isinf

from headroom.capacity.plan.context import PodQueue, ServiceContext, milliseconds
from headroom.capacity.plan.model import PodsMetric, Resources, Sized
from headroom.capacity.plan.presets import CPU_UTILIZATION
from headroom.capacity.plan.replicas import Replicas
from headroom.capacity.plan.sizing import given_or, grown, overridden, refusal
from headroom.capacity.quantities import cores, figure

LEAST_CPU_UTILIZATION = 30
CPU_STEP = 5
QUEUE_LIMIT = 100
"""The inference service's own default."""
AUTOSCALED = 4
"""A queue's limit, in averages that an autoscaler holds, for it to see that twice as many pods are needed."""


def predicted_p99(it: ServiceContext, queue: PodQueue | None, pods: int) -> Sized[float] | None:
    load = it.demand.demand
    if queue is None or load is None or load.target_rps is None:
        return None
    rate = grown(load.target_rps, load.growth, it.months) / pods
    busy = rate * Fraction(queue.service) / queue.servers
    if busy >= 1:
        most = figure(queue.servers / Fraction(queue.service))
        raise refusal(
            it.path("profile.rpsPerPod"),
            f"lets each of {pods} pods take {figure(rate)} rps, and {queue.servers} threads of "
            f"{milliseconds(queue.service)} a request do {most} at most (ρ = {figure(busy, 2)}, must be below 1)",
            f"measure it again: below {most}, with room for the latency",
        )
    value = round(queue.p99milliseconds(rate), 1)
    why = f"M/M/{queue.servers} a pod, {figure(rate, 1)} rps each, ρ = {figure(busy, 2)}, "
    why += f"service {milliseconds(queue.service)} with cv {figure(queue.cv)}; floor {queue.floormilliseconds():.4g} ms"
    return Sized("predictedP99", value, "ms", why, "latency" if load.latency else "throughput")


def cpu_target(it: ServiceContext, queue: PodQueue | None, size: Resources, replicas: Replicas) -> Sized[int]:
    found = given_or(
        "targetCPUUtilization",
        it.demand.autoscaling.cpu_utilization,
        CPU_UTILIZATION,
        "%",
        key="autoscaling.cpuUtilization",
        why="default: room for the time that scaling up takes",
    )
    load, cpu_time = it.demand.demand, it.demand.measured.cpu_time
    cpu = Fraction(cores(size.cpu_request.value))
    if queue is not None and load is not None and load.latency is not None and cpu_time is not None:
        found = _lowered(it, found, queue, load.latency.p99, cpu / Fraction(cpu_time))
    found = overridden(found, it.demand.override)
    if load is not None and load.target_rps is not None and cpu_time is not None:
        target = grown(load.target_rps, load.growth, it.months)
        held = ceil(target * Fraction(cpu_time) / (cpu * Fraction(found.value, 100)))
        if replicas.most.value < held:
            it.warn(
                f"at {found.value} % CPU the autoscaler wants {held} pods at the target, and maxReplicas is "
                f"{replicas.most.value}: pods will run hotter than the target"
            )
    return found


def queue_limit(it: ServiceContext, queue: PodQueue | None, metric: PodsMetric | None) -> Sized[int] | None:
    """Requests that may wait in a pod: as many as it answers within the p99, but for those that its threads have.

    Fewer would refuse more than one request in a hundred at the rate that the pod carries; with more, accepted ones
    would be late in an overload. Where that is less than an autoscaler on the queue has to see, its need counts: a full
    pod has half of them in its queue, the rest share running batches, and the autoscaler has to see twice its average.
    """
    if it.demand.preset != "fastapi":
        return None
    load, rate = it.demand.demand, it.demand.measured.rps_per_pod
    if load is None or load.latency is None or queue is None or rate is None:
        found = Sized("queueLimit", QUEUE_LIMIT, "requests", "default where no p99 is promised", "default")
        return overridden(found, it.demand.override)
    most = max(Fraction(rate), queue.servers / Fraction(queue.service))  # batches may let it do more than its threads
    kept = max(1, floor(most * Fraction(load.latency.p99)) - queue.servers)
    why = f"floor({figure(most)} rps a pod × {milliseconds(load.latency.p99)}) - {queue.servers} in threads = {kept:,}"
    found = Sized("queueLimit", kept, "requests", why, "latency")
    if metric is not None and (seen := AUTOSCALED * metric.average.value) > kept:
        why = (
            f"{AUTOSCALED} × {metric.average.setting} {metric.average.value}, for its autoscaler to see a queue; {why}"
        )
        found = Sized("queueLimit", seen, "requests", why, "autoscaling")
    return overridden(found, it.demand.override)


def _lowered(it: ServiceContext, found: Sized[int], queue: PodQueue, sla: Decimal, full_rate: Fraction) -> Sized[int]:
    """The highest CPU target at which a pod still meets the SLA; `full_rate` is what it carries at 100 %."""
    target = found.value
    while not queue.meets(sla, full_rate * target / 100) and target - CPU_STEP >= LEAST_CPU_UTILIZATION:
        target -= CPU_STEP
    at = full_rate * target / 100
    if not queue.meets(sla, at):
        p99 = queue.p99milliseconds(at)
        it.warn(
            f"a pod held at {target} % CPU carries {figure(at, 1)} rps with a p99 of "
            f"{'no bound' if isinf(p99) else f'{p99:.4g} ms'}, over the {milliseconds(sla)} asked: "
            "scale on the queue, or give pods more threads or CPU"
        )
    if target == found.value:
        return found
    why = f"lowered from {found.value}: at {target} % CPU a pod carries {figure(at, 1)} rps within {milliseconds(sla)}"
    return Sized(found.setting, target, found.unit, why, "latency")
