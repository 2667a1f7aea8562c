"""What is wrong with a live stack, and why: a snapshot taken once, and rules over it that ask nothing more."""

from __future__ import annotations

from headroom.capacity.demand import StackDemand
from headroom.capacity.parts import PARTS
from headroom.capacity.plan.model import Plan
from headroom.errors import InputError
from headroom.kubectl import Kubectl
from headroom.ops.doctor import traffic
from headroom.ops.doctor.collect import collect
from headroom.ops.doctor.model import Diagnosis, Finding, Severity
from headroom.ops.doctor.rules import RULES
from headroom.ops.doctor.snapshot import Snapshot

__all__ = ["Diagnosis", "Finding", "Severity", "Snapshot", "check", "diagnose", "examine"]

_ORDER = {severity: place for place, severity in enumerate(Severity)}


def examine(
    kubectl: Kubectl, plan: Plan, demand: StackDemand, *, real_pods: bool, component: str | None = None
) -> Diagnosis:
    """Look at a stack on a cluster. `component` is a service's key or a part; None for all.

    Raises InputError for a component that the stack has not, EnvironmentFailure when the cluster does not answer.
    """
    check(plan, component)
    seen = collect(kubectl, plan, traffic.promises(demand), real_pods=real_pods, only=component)
    return diagnose(seen, plan, component)


def check(plan: Plan, component: str | None) -> None:
    """Raises InputError for a component that the stack has not."""
    known = [s.key for s in plan.services] + [p for p in PARTS if getattr(plan, p) is not None]
    if component is not None and component not in known:
        raise InputError(
            f"stack {plan.stack} has no service or part {component!r}", fix=f"choose one of {', '.join(known)}"
        )


def diagnose(seen: Snapshot, plan: Plan, component: str | None = None) -> Diagnosis:
    """What the rules say of a snapshot. Pure."""
    found = [finding for rule in RULES for finding in rule(seen, plan)]
    # What ails the cluster ails everything on it.
    mine = [f for f in found if component in (None, f.component) or f.component == "cluster"]
    return Diagnosis(tuple(sorted(mine, key=lambda f: _ORDER[f.severity])), seen.unseen)
