"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from headroom.capacity.plan.model import Plan
from headroom.ops.doctor.snapshot import Snapshot, Unseen


class Severity(StrEnum):
    """`error`: it does not work, or loses data or requests. `warning`: it will, or works less well than planned.
    `note`: an explanation of something that is as it should be, and looks odd."""

    error = "error"
    warning = "warning"
    note = "note"


Anchor = Literal[
    "autoscaler-is-at-its-bound",
    "autoscaler-is-missing",
    "autoscaler-is-not-as-planned",
    "autoscaler-is-suspended",
    "autoscaler-waits-in-its-window",
    "buckets-do-not-agree",
    "buckets-do-not-move",
    "cache-does-not-fit-its-pod",
    "connections-are-used-up",
    "container-keeps-crashing",
    "errors-are-over-their-threshold",
    "h2o-heap-is-full",
    "h2o-is-locked",
    "h2o-is-short",
    "image-cannot-be-pulled",
    "job-failed",
    "latency-is-over-its-promise",
    "load-balancer-is-at-its-limit",
    "metric-is-missing",
    "more-requests-than-planned",
    "no-answer",
    "no-metrics-api",
    "no-node-fits-a-pod",
    "no-requests-set",
    "no-room-for-a-pod",
    "node-is-not-well",
    "out-of-memory",
    "part-is-not-deployed",
    "pod-is-not-ready",
    "pod-is-refused",
    "quota-is-used-up",
    "redis-has-no-leader",
    "redis-is-full",
    "redis-replica-does-not-follow",
    "replication-lags",
    "requests-are-uneven",
    "service-selects-the-wrong-pods",
    "shard-has-no-primary",
    "slots-are-missing",
    "standby-does-not-follow",
    "two-autoscalers-own-the-pods",
    "volume-is-full",
    "volume-is-not-provisioned",
]
"""Every symptom by the name of its section in docs/runbook.md."""


@dataclass(frozen=True)
class Finding:
    """A symptom with its explanation.

    `anchor` names its section of docs/runbook.md; `component` is a service's key or a part (`postgres`, `redis`, …),
    `subject` what it was found at. `evidence` are lines as the cluster gave them; `fix` is a command.
    """

    anchor: Anchor
    severity: Severity
    component: str
    subject: str
    symptom: str
    because: str
    fix: str
    evidence: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class About:
    """What a rule looks at; its findings are about this component and this subject."""

    component: str
    subject: str

    def finding(
        self,
        anchor: Anchor,
        symptom: str,
        because: str,
        fix: str,
        *,
        severity: Severity = Severity.error,
        evidence: tuple[str, ...] = (),
    ) -> Finding:
        return Finding(anchor, severity, self.component, self.subject, symptom, because, fix, evidence)


Rule = Callable[[Snapshot, Plan], Iterable[Finding]]


@dataclass(frozen=True)
class Diagnosis:
    """Findings, the worst first, and what could not be looked at and why."""

    findings: tuple[Finding, ...]
    unseen: tuple[Unseen, ...]

    @property
    def failed(self) -> bool:
        """Whether a finding is an error."""
        return any(f.severity is Severity.error for f in self.findings)
