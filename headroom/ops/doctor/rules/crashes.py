"""Containers that end when they should not: killed for their memory, or by their own doing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from headroom.capacity.plan.model import Plan
from headroom.capacity.quantities import MI, figure
from headroom.kubectl import Manifest
from headroom.ops.ages import age
from headroom.ops.diff.quantity import number
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import ContainerId, Snapshot

RECENT_SECONDS = 3600
"""How long ago an end is still told of a container that runs again."""
_OFTEN = 3
_OOM = "OOMKilled"
_KILLED = 137
_BY_A_PROBE = re.compile(r"ontainer (\S+) failed (liveness|startup) probe")
_SLACK_SECONDS = 5.0
"""Between the clocks and the rounding of an event's time and of an end's."""


def out_of_memory(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """The kernel killed a container at its memory limit: which limit, and what the plan gives."""
    for pod, status in _containers(seen):
        end = _last_end(status)
        if end is None or end.get("reason") != _OOM or age(seen.at, end.get("finishedAt")) > RECENT_SECONDS:
            continue
        name, component, restarts = status["name"], objects.component(pod), int(status.get("restartCount", 0))
        limit = ((objects.specification(pod, name).get("resources") or {}).get("limits") or {}).get("memory")
        planned = objects.resources(plan, pod, name)
        wanted = planned.memory_limit.value if planned else None
        behind = wanted is not None and (number(limit) or 0) < (number(wanted) or 0)
        yield Finding(
            anchor="out-of-memory",
            severity=Severity.warning if status.get("ready") and restarts <= 1 else Severity.error,
            component=component,
            subject=f"pod {objects.place(pod)}, container {name}",
            symptom=f"was killed for its memory, {_times(restarts)}",
            because=_because(component, limit, wanted, behind=behind),
            fix=_fix(plan, component, behind=behind),
            evidence=(*_usage(seen, pod, name), _ended(end), *_log(seen, pod, name)),
        )


def loops(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A container that is started again and again, with the last words of the one before."""
    for pod, status in _containers(seen):
        end = _last_end(status)
        if end is None or end.get("reason") == _OOM:
            continue
        waits = objects.waiting(status)[0] == "CrashLoopBackOff"
        down = not status.get("ready") and status.get("restartCount", 0) >= 1 and bool(end.get("exitCode"))
        recent = age(seen.at, end.get("finishedAt")) <= RECENT_SECONDS
        often = status.get("restartCount", 0) >= _OFTEN and recent and bool(end.get("exitCode"))
        if not (waits or (down and recent) or often):
            continue
        name = status["name"]
        runs_again = bool(status.get("ready"))
        yield Finding(
            anchor="container-keeps-crashing",
            severity=Severity.warning if runs_again else Severity.error,
            component=objects.component(pod),
            subject=f"pod {objects.place(pod)}, container {name}",
            symptom=f"was restarted {_times(int(status.get('restartCount', 0)))}"
            + (" and runs at this moment" if runs_again else ""),
            because=_meaning(seen, pod, name, end),
            fix=f"kubectl logs -n {objects.namespace(pod)} {objects.name(pod)} -c {name} --previous; "
            f"if a new version did it: headroom rollback {_scope(plan, pod)}--stack {plan.stack}",
            evidence=(_ended(end), *_log(seen, pod, name)),
        )


def ended(status: Manifest) -> bool:
    """Whether a container has ended in a way that its log may explain."""
    end = _last_end(status)
    return end is not None and bool(end.get("exitCode"))


def _containers(seen: Snapshot) -> Iterator[tuple[Manifest, Manifest]]:
    for pod in objects.living(seen):
        for status in objects.containers(pod):
            yield pod, status


def _last_end(status: Manifest) -> dict[str, Any] | None:
    now = (status.get("state") or {}).get("terminated")
    before = (status.get("lastState") or {}).get("terminated")
    # An init container that ended well has done its work.
    return now if now and now.get("exitCode") else before


def _times(count: int) -> str:
    return "once" if count <= 1 else f"{count} times"


def _ended(end: dict[str, Any]) -> str:
    return f"ended {end.get('finishedAt')} with exit code {end.get('exitCode')} ({end.get('reason') or 'no reason'})"


def _usage(seen: Snapshot, pod: Manifest, container: str) -> Iterator[str]:
    used = seen.usage.get(ContainerId(objects.namespace(pod), objects.name(pod), container))
    if used:
        yield f"uses {used.memory / MI:,.0f} Mi at this moment"


def _log(seen: Snapshot, pod: Manifest, container: str) -> Iterator[str]:
    for line in seen.last_words.get(ContainerId(objects.namespace(pod), objects.name(pod), container), ()):
        yield f"log: {line}"


def _because(component: str, limit: str | None, wanted: str | None, *, behind: bool) -> str:
    words = f"its limit is {limit}" if limit else "it has no limit of its own, so the node ran out"
    if behind:
        return f"{words}, below the {wanted} of the plan: somebody lowered it, or the stack file was not deployed"
    words += f", the {wanted} of the plan" if wanted else ""
    if component == "h2o":
        return f"{words}: beside the heap H2O needs native memory, and XGBoost as much again as the heap"
    if component == "redis":
        return f"{words}: copies of its memory while it saves and feeds replicas come on top of maxmemory"
    if component == "postgres":
        return f"{words}: sorts and hashes of many connections at once (work_mem each) come on top of shared_buffers"
    return f"{words}: a request, a model or a leak needs more than was measured"


def _fix(plan: Plan, component: str, *, behind: bool) -> str:
    up = f"headroom up --stack {plan.stack}"
    if behind:
        return up
    if component == "h2o":
        return f"set headroom:h2o.xgboost to true, or raise headroom:h2o.node.memory; then {up}"
    if component == "redis":
        return f"lower headroom:redis.node.maxmemory, or raise the demand for more masters; then {up}"
    if component == "postgres":
        return f"raise headroom:postgres.shard.memory; then {up}"
    if component == "pgbouncer":
        return f"raise headroom:pgbouncer.memory; then {up}"
    larger = f'headroom scale {component} --memory SIZE --because "…" --stack {plan.stack}'
    return f"headroom rightsize {component} --stack {plan.stack}; or {larger}"


def _meaning(seen: Snapshot, pod: Manifest, container: str, end: dict[str, Any]) -> str:
    if probe := _killed_by(seen, pod, container, end):
        failed = objects.events(seen, pod, "Unhealthy", kind="Pod")
        words = next((f": {e[:160]}" for e in failed if e.lower().startswith(f"{probe} probe")), "")
        return f"the kubelet restarts it because its {probe} probe fails{words}"
    code = end.get("exitCode")
    known = {
        1: "the program ended with an error; its log says which",
        2: "the program refused its arguments or its settings",
        126: "its command may not be executed",
        127: "its command is not in the image",
        _KILLED: "it was killed (SIGKILL): a process in it out of memory, or a stop that took longer than its grace",
        139: "it crashed (SIGSEGV)",
        143: "it was told to end (SIGTERM) and did",
    }
    return known.get(int(code or 0), f"the program ended by itself with exit code {figure(int(code or 0))}")


def _killed_by(seen: Snapshot, pod: Manifest, container: str, end: dict[str, Any]) -> str:
    """`liveness` or `startup` where the kubelet ended this container for its probe, by its own word at that time.

    A probe that fails is no proof: each does while a program starts, and in the moment in which one crashes.
    """
    grace = float(pod["spec"].get("terminationGracePeriodSeconds", 30)) + _SLACK_SECONDS
    finished = age(seen.at, end.get("finishedAt"))
    for event in objects.happened(seen, pod, "Killing", kind="Pod"):
        said = _BY_A_PROBE.search(objects.message(event))
        if said and said[1] == container and -_SLACK_SECONDS <= age(seen.at, objects.when(event)) - finished <= grace:
            return said[2]
    return ""


def _scope(plan: Plan, pod: Manifest) -> str:
    component = objects.component(pod)
    return f"{component} " if objects.service(plan, component) else ""
