"""What a check says, and what it may ask."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from headroom.capacity.plan.model import Plan
from headroom.kubectl import Kubectl


class Verdict(StrEnum):
    """`skip` is said only of what cannot be asked here, with the reason in the evidence: never of a failure. `warn` is
    well today and will not be soon."""

    passed = "pass"
    warned = "warn"
    failed = "fail"
    skipped = "skip"


@dataclass(frozen=True)
class Finding:
    """One check's answer: what was looked at, what was seen, and for a failure the command that mends or tells more."""

    component: str
    check: str
    verdict: Verdict
    evidence: str
    fix: str = ""


@dataclass(frozen=True)
class Scene:
    """What a check may look at: the plan, the live cluster, and whether software really runs in its pods."""

    plan: Plan
    kubectl: Kubectl
    real_pods: bool


Check = Callable[[Scene], Iterator[Finding]]


def judge(component: str, check: str, ok: bool, evidence: str, fix: str = "") -> Finding:
    """A finding that passed or failed; the fix is kept for the failure alone."""
    return Finding(component, check, Verdict.passed if ok else Verdict.failed, evidence, "" if ok else fix)
