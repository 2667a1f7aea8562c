"""Pods that run and get no requests."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from headroom.kubectl import Manifest
from headroom.ops.ages import age
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

GRACE_SECONDS = 90
"""So long a pod may take to start before it is told of; H2O and PostgreSQL with much data take longer, and say why."""


def unready(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """All containers run, and the pod is not Ready."""
    loaded = {service.key for service in plan.services if _overloaded(seen, service.key)}
    for pod in filter(lambda p: _stuck(seen, p), objects.living(seen)):
        statuses = objects.containers(pod)
        said = objects.condition(pod, "Ready") or {}
        quiet = [s["name"] for s in statuses if not s.get("ready")]
        failing = objects.events(seen, pod, "Unhealthy", kind="Pod")
        component = objects.component(pod)
        yield Finding(
            anchor="pod-is-not-ready",
            severity=Severity.error,
            component=component,
            subject=f"pod {objects.place(pod)}",
            symptom=f"runs and is not ready ({objects.listed(quiet) or 'a gate'}), so no Service sends it requests",
            because=_because(pod, failing)
            + ("; all pods of the service are so: likely more load than they can take" if component in loaded else ""),
            fix=f"kubectl logs -n {objects.namespace(pod)} {objects.name(pod)}"
            + (f" -c {quiet[0]}" if quiet else "")
            + " --tail 50"
            + (_more(seen, plan, component) if component in loaded else ""),
            evidence=(*failing[:3], str(said.get("message", ""))),
        )


def _runs(status: Manifest) -> bool:
    state = status.get("state") or {}
    ended = state.get("terminated") or {}
    return "running" in state or (bool(ended) and not ended.get("exitCode"))


def _stuck(seen: Snapshot, pod: Manifest) -> bool:
    """Whether all its containers run, for long enough, and it is not ready."""
    statuses = objects.containers(pod)
    started = max((s["state"]["running"]["startedAt"] for s in statuses if "running" in s.get("state", {})), default="")
    runs = bool(statuses) and all(_runs(s) for s in statuses)
    return runs and not objects.ready(pod) and age(seen.at, started) >= GRACE_SECONDS


def _overloaded(seen: Snapshot, service: str) -> bool:
    """Whether no pod of a service is ready, and the probes of those that have started get no answer in time."""
    pods = [p for p in objects.living(seen) if objects.component(p) == service]
    newest = [next(iter(objects.events(seen, p, "Unhealthy", kind="Pod")), "") for p in pods if _stuck(seen, p)]
    late = all(_late(words) and "tartup probe" not in words for words in newest)
    return bool(newest) and late and not any(map(objects.ready, pods))


def _more(seen: Snapshot, plan: Plan, service: str) -> str:
    count = sum(objects.component(p) == service for p in objects.living(seen))
    return (
        f"; where it is load: headroom scale {service} --to {2 * count} "
        f'--because "probes time out under load" --stack {plan.stack}'
    )


def _late(words: str) -> bool:
    return any(w in words.lower() for w in ("deadline exceeded", "timeout"))


def _because(pod: Manifest, failing: list[str]) -> str:
    words = next(iter(failing), "").lower()  # the newest; those of its start are older
    if "tartup probe" in words:
        return "its startup probe does not pass: it is slower to start than it is given, or waits for something"
    if "503" in words or "statuscode: 5" in words:
        return "the program itself says that it is not ready: it starts, drains, or misses what it depends on"
    if "refused" in words:
        return "nothing listens on the probed port"
    if _late(words):
        return "the probe gets no answer in time: the program is stopped, or has no CPU to answer with"
    if objects.component(pod) == "h2o":
        return "the H2O cloud is not whole; its guards say why"
    return "its readiness probe does not pass"
