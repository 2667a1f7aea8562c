"""What refuses a plan once it is whole, whoever chose its numbers: a formula, an override or an emergency.

The checks that need only one part (a latency under its floor, data that does not fit, a grace period too short) are
made where that part is sized; connections are checked in `connections`.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import ceil

from headroom.capacity.demand.nodes import NodesDemand
from headroom.capacity.plan.model import ServicePlan
from headroom.capacity.plan.pods import PodGroup
from headroom.capacity.plan.sizing import refusal
from headroom.capacity.quantities import cpu_text, figure, memory_text


def check_bounds(service: ServicePlan, *, tiered: bool) -> None:
    """`minReplicas` ≤ `maxReplicas`, and `maxReplicas` carries the target (a tier's clamp is a warning instead)."""
    where = f"services.{service.key}"
    least, most, target = service.min_replicas, service.max_replicas, service.replicas_at_target
    if least.value > most.value:
        raise refusal(
            f"{where}.override",
            f"leaves minReplicas {least.value} ({least.because}) above maxReplicas {most.value} ({most.because})",
            f"maxReplicas of at least {least.value}, or minReplicas of at most {most.value}",
        )
    if target.value > most.value and (not tiered or most.bound_by == "override"):
        raise refusal(
            f"{where}.override.maxReplicas.value",
            f"is {most.value}, and the target takes {target.value} pods ({target.because})",
            f"{target.value} or more, or ask for less",
        )


def check_balancer(service: ServicePlan, target: Fraction) -> None:
    """The target passes the load balancer, where its limit is known."""
    limit = service.exposure.max_rps
    if limit is not None and target > limit:
        raise refusal(
            f"services.{service.key}.service.loadBalancer.maxRps",
            f"is {figure(limit)}, below the target of {figure(target)} rps",
            f"targetRps of at most {figure(limit)}, or a larger balancer",
        )


def check_nodes(nodes: NodesDemand, groups: Sequence[PodGroup]) -> None:
    """Every pod fits the largest node, and all of them at their most fit the cluster."""
    each = int(nodes.cpu * 1000)
    for group in groups:
        if group.pod.cpu > each or group.pod.memory > nodes.memory:
            raise refusal(
                "nodes",
                f"have {cpu_text(nodes.cpu)} cores and {memory_text(nodes.memory)}; a pod of {group.component} asks "
                f"for {cpu_text(Fraction(group.pod.cpu, 1000))} and {memory_text(group.pod.memory)}",
                "larger nodes, or smaller pods",
            )
    if nodes.max is None:
        return
    cpu = sum(g.pod.cpu * g.most for g in groups)
    memory = sum(g.pod.memory * g.most for g in groups)
    needed = max(ceil(Fraction(cpu, each)), ceil(Fraction(memory, nodes.memory)))
    if needed > nodes.max:

        def share(group: PodGroup) -> Fraction:
            return group.most * max(Fraction(group.pod.cpu, cpu), Fraction(group.pod.memory, memory))

        biggest = max(groups, key=share)
        cores = cpu_text(Fraction(cpu, 1000))
        raise refusal(
            "nodes.max",
            f"is {nodes.max}, and everything at its maximum asks for {cores} cores and {memory_text(memory)}, "
            f"most of it for {biggest.component} ({biggest.most} pods)",
            f"{needed} nodes or more, or ask for less",
        )
