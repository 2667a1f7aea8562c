"""What the doctor finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from headroom.capacity.plan.model import Plan
from headroom.ops.doctor.snapshot import Snapshot, Unseen


class Severity(StrEnum):
    """`error`: it does not work, or loses data or requests. `warning`: it will, or works less well than planned.
    `note`: an explanation of something that is as it should be, and looks odd."""

    error = "error"
    warning = "warning"
    note = "note"


@dataclass(frozen=True)
class Finding:
    """A symptom with its explanation.

    `anchor` names its section of docs/runbook.md; `component` is a service's key or a part (`postgres`, `redis`, …),
    `subject` what it was found at. `evidence` are lines as the cluster gave them; `fix` is a command.
    """

    anchor: str
    severity: Severity
    component: str
    subject: str
    symptom: str
    because: str
    fix: str
    evidence: tuple[str, ...] = field(default=())


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
