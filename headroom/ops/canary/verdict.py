"""When a canary is worse than the stable pods. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from headroom.capacity import quantities
from headroom.capacity.plan.model import CanaryPlan
from headroom.errors import InputError
from headroom.kubectl import Manifest
from headroom.ops.signals import Limits, Reading, ready, worse


@dataclass(frozen=True)
class Verdict:
    """`worse` ends the canary; `well` may be promoted; `unknown` saw too little to say."""

    word: Literal["worse", "well", "unknown"]
    reason: str


def judge(stable: Reading, canary: Reading, broken: str, limits: Limits | None = None) -> Verdict:
    """What was seen since the canary was ready. `broken` says why its pods will not get well, if so."""
    limits = limits or Limits()
    if broken:
        return Verdict("worse", broken)
    if reason := worse(stable, canary, limits):
        return Verdict("worse", reason)
    both = f"canary {canary}; stable {stable}"
    if min(canary.requests, stable.requests) < limits.least_requests:
        return Verdict("unknown", f"fewer than {limits.least_requests} requests each: {both}")
    return Verdict("well", both)


def ailing(pods: Sequence[Manifest], silent: Mapping[str, str]) -> dict[str, str]:
    """Pods that have started and take no requests or hang, and what they do; one that still starts is left alone."""
    found: dict[str, str] = {}
    for pod in pods:
        name, statuses = pod["metadata"]["name"], pod.get("status", {}).get("containerStatuses") or []
        if name in silent:
            found[name] = f"pod {name} gives no answer ({silent[name]})"
        elif not ready(pod) and statuses and all(s.get("started") for s in statuses):
            found[name] = f"pod {name} has been ready and is not any more"
    return found


def weight(text: str) -> Decimal:
    """`10%` or `0.1` as a share, above 0 and below 1. Raises InputError."""
    bare = text.strip()
    try:
        share = quantities.number(bare.removesuffix("%").strip())
    except ValueError:
        share = Decimal(0)
    share = share / 100 if bare.endswith("%") else share
    if not 0 < share < 1:
        raise InputError(f"--weight {text}: a share of the pods, above 0 and below 1", fix="for example --weight 10%")
    return share


def shares(plan: CanaryPlan, stable: int) -> str:
    """What the weight comes to: pods are whole, and a Service spreads connections evenly over them."""
    count = plan.replicas.value
    real = 100 * count / (count + stable)
    pods = f"{count} canary pod{'s' if count > 1 else ''}"
    return (
        f"{quantities.figure(100 * plan.weight)} % is {pods} ({plan.replicas.because}): with {stable} stable ones it "
        f"gets about {real:.0f} % of the connections"
    )
