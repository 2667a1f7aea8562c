"""What was asked and did not answer: a symptom of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot


def silent(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """What did not answer in its time, once each, whatever it was asked."""
    groups: dict[tuple[str, str, bool], dict[str, None]] = defaultdict(dict)
    for failure in seen.failures:
        forbidden = "forbidden" in failure.words.lower()
        groups[failure.component, failure.subject, forbidden][failure.words[:300]] = None
    for (component, subject, forbidden), words in groups.items():
        yield Finding(
            anchor="no-answer",
            severity=Severity.warning if forbidden else Severity.error,
            component=component,
            subject=subject,
            symptom="gives no answer",
            because="you have not the right to ask"
            if forbidden
            else "its program hangs, is overloaded or does not run; or the way to it is closed",
            fix="ask for the right that is named below" if forbidden else _fix(seen, plan, subject),
            evidence=tuple(words)[:3],
        )


def _fix(seen: Snapshot, plan: Plan, subject: str) -> str:
    """Commands that there are: most subjects are no object that kubectl could describe."""
    again = f"headroom verify --stack {plan.stack}"
    kind, _, name = subject.partition(",")[0].partition(" ")
    if kind == "node":
        return f"{again}; kubectl describe node {name}"
    if kind != "pod":
        return again
    pod = next((p for p in seen.pods if objects.name(p) == name), None)
    namespace = objects.namespace(pod) if pod else plan.namespace
    describe = f"kubectl describe pod {name} -n {namespace}"
    owners = [o["kind"] for o in (pod["metadata"].get("ownerReferences") or [] if pod else [])]
    if "ReplicaSet" in owners:
        return f"{describe}; where it hangs: kubectl delete pod {name} -n {namespace} (its Deployment starts another)"
    return f"{again}; {describe}"
