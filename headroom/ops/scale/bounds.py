"""What scaling writes into a stack file, and in which steps a gradual one goes. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil
from typing import Any

from headroom.capacity.plan.model import ServicePlan
from headroom.errors import InputError
from headroom.ops import splice
from headroom.ops.draft import OUR_OVERRIDES, SERVICES, Edit

POOLER = "pgbouncer"
POOLER_REPLICAS = ("config", "headroom:pgbouncer", "override", "replicas")
SUDDEN = 2
"""A jump by more than this factor is worth a warning: new pods have cold caches, and their stores see it at once."""
STEP_PERCENT = 25


def replicas(service: str, to: int, because: str, planned: ServicePlan | None) -> Edit:
    """The edit that holds a service at `to` pods; `planned` is its plan without any emergency.

    From the planned minimum upwards it is an emergency, which raises both bounds together. Below, it lowers the
    minimum alone: the maximum must go on carrying the target. At the planned minimum it is the plan itself.

    For PgBouncer, which has no autoscaler, it is an override of `replicas`.
    """
    value = {"value": to, "because": because}
    if planned is None:
        return lambda text: splice.put(text, POOLER_REPLICAS, value)

    def edit(text: str) -> str:
        text = _without(text, service, "minReplicas")
        if to > planned.min_replicas.value:
            return splice.put(text, (*SERVICES, service, "emergencyReplicas"), value)
        if to < planned.min_replicas.value:
            return splice.put(text, (*SERVICES, service, "override", "minReplicas"), value)
        return text

    return edit


def pod_size(service: str, cpu: str | None, memory: str | None, because: str) -> Edit:
    """The edit that gives each pod other requests; limits, threads and cache follow from them in the plan."""
    wanted = {"cpuRequest": cpu, "memoryRequest": memory}

    def edit(text: str) -> str:
        for setting, value in wanted.items():
            if value is not None:
                path = (*SERVICES, service, "override", setting)
                text = splice.put(text, path, {"value": value, "because": because})
        return text

    return edit


def restored(service: str) -> Edit:
    """The edit that takes back everything that scaling wrote."""
    if service == POOLER:
        return lambda text: splice.drop(text, POOLER_REPLICAS)
    return lambda text: _without(text, service, *OUR_OVERRIDES)


def unraised(service: str) -> Edit:
    """The edit that takes back numbers of pods and leaves their size."""
    if service == POOLER:
        return restored(service)
    return lambda text: _without(text, service, "minReplicas")


def held(text: str, service: str) -> Mapping[str, Mapping[str, Any]]:
    """What scaling has written for a service: `{setting: {value, because}}`."""
    if service == POOLER:
        found = splice.get(text, POOLER_REPLICAS)
        return {"replicas": found} if found else {}
    emergency = splice.get(text, (*SERVICES, service, "emergencyReplicas"))
    overrides = splice.get(text, (*SERVICES, service, "override")) or {}
    ours = {k: v for k, v in overrides.items() if k in OUR_OVERRIDES}
    return ({"emergencyReplicas": emergency} if emergency else {}) | ours


def sudden(now: int, to: int) -> str:
    """The warning for a jump of more than twice as many pods; empty for a smaller one."""
    if to <= SUDDEN * max(now, 1):
        return ""
    return (
        f"from {now} to {to} pods is {to / max(now, 1):.2g} times as many at once: their caches are cold and their "
        "stores see all of them; --gradual goes in steps"
    )


def steps(now: int, to: int) -> list[int]:
    """The counts on the way, each at most a quarter away from the one before and at least a pod; `to` is the last.

    >>> steps(2, 5), steps(10, 4), steps(3, 3)
    ([3, 4, 5], [8, 6, 5, 4], [])
    """
    found = []
    while now != to:
        most = max(1, ceil(now * STEP_PERCENT / 100) if to > now else now * STEP_PERCENT // 100)
        now = min(now + most, to) if to > now else max(now - most, to)
        found.append(now)
    return found


def counted(to: int) -> int:
    """A number of pods that can be asked for. Raises InputError."""
    if to < 1:
        raise InputError(
            f"{to} pods: no autoscaler on CPU or Pods metrics takes 0, and a service without pods is down",
            fix="headroom maintenance on SERVICE takes a service down and brings it back",
        )
    return to


def _without(text: str, service: str, *overrides: str) -> str:
    text = splice.drop(text, (*SERVICES, service, "emergencyReplicas"))
    for setting in overrides:
        text = splice.drop(text, (*SERVICES, service, "override", setting))
    return text
