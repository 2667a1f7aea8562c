"""Pods that the API server does not let in: over the namespace's quota, or against its rules."""

from __future__ import annotations

import re
from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from headroom.kubectl import Manifest
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

_QUOTA = re.compile(r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>.*?), used: .*?, limited: (?P<most>.*)")


def refused(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A Deployment, StatefulSet or Job that has fewer pods than it wants because creating them is refused."""
    for owner in (*seen.deployments, *seen.stateful_sets, *seen.jobs):
        words = _words(seen, owner)
        if not words:
            continue
        if over := _QUOTA.search(words):
            yield _quota(seen, plan, owner, over)
        else:
            yield Finding(
                anchor="pod-is-refused",
                severity=Severity.error,
                component=objects.component(owner),
                subject=_title(owner),
                symptom="has pods that the API server refuses",
                because=_reason(words),
                fix=f"headroom up --stack {plan.stack} (what it deploys keeps the namespace's rules)",
                evidence=(words[:400],),
            )


def _words(seen: Snapshot, owner: Manifest) -> str:
    failure = objects.condition(owner, "ReplicaFailure")
    if failure and failure["status"] == "True":
        return str(failure.get("message", ""))
    # Only Deployments carry the condition; of the others the newest event tells, while pods are missing.
    status, spec = owner.get("status", {}), owner["spec"]
    if owner["kind"] == "Job":
        short = not any(status.get(k) for k in ("active", "succeeded", "failed")) and not spec.get("suspend")
    else:
        short = status.get("replicas", 0) < spec.get("replicas", 1)
    return next(iter(objects.events(seen, owner, "FailedCreate", kind=owner["kind"])), "") if short else ""


def _quota(seen: Snapshot, plan: Plan, owner: Manifest, over: re.Match[str]) -> Finding:
    namespace = objects.namespace(owner)
    live = next((q for q in seen.quotas if objects.place(q) == f"{namespace}/{over['quota']}"), None)
    used, hard = (live or {}).get("status", {}).get("used") or {}, (live or {}).get("status", {}).get("hard") or {}
    planned = next((n for n in plan.namespaces if n.name == namespace), None)
    because = f"the namespace's quota {over['quota']} has no room for one more pod ({over['asked']})"
    if planned and hard.get("pods") not in (None, str(planned.pods.value)):
        because += f"; it allows {hard['pods']} pods, and the plan {planned.pods.value}"
    return Finding(
        anchor="quota-is-used-up",
        severity=Severity.error,
        component=objects.component(owner),
        subject=_title(owner),
        symptom="has fewer pods than it wants",
        because=because,
        fix=f"headroom up --stack {plan.stack} (the plan's quota has room for every maximum); what else uses it: "
        f"kubectl get pods -n {namespace}",
        evidence=(
            f"allowed {over['most']}",
            *([", ".join(f"{k} {used.get(k)} of {v}" for k, v in sorted(hard.items()))] if hard else []),
        ),
    )


def _title(owner: Manifest) -> str:
    return f"{owner['kind']} {objects.place(owner)}"


def _reason(words: str) -> str:
    if "PodSecurity" in words:
        return "the namespace enforces a Pod Security Standard, and the pod breaks it"
    if "LimitRange" in words or "maximum" in words:
        return "a container asks for more than the namespace allows one"
    if "webhook" in words:
        return "an admission webhook refuses it, or does not answer"
    return "the API server's words are below"
