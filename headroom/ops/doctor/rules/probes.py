"""What was asked and did not answer: a symptom of its own."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot


def silent(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A question that had no answer in its time."""
    for failure in seen.failures:
        forbidden = "forbidden" in failure.words.lower()
        yield Finding(
            anchor="no-answer",
            severity=Severity.warning if forbidden else Severity.error,
            component=failure.component,
            subject=failure.subject,
            symptom="gives no answer",
            because="you have not the right to ask"
            if forbidden
            else "its program hangs, is overloaded or does not run; or the way to it is closed",
            fix=f"headroom verify --stack {plan.stack}; kubectl describe {failure.subject.partition(',')[0]} "
            f"-n {plan.namespace}"
            if not forbidden
            else "ask for the right that is named below",
            evidence=(failure.words[:300],),
        )
