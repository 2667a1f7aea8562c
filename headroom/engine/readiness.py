"""When an object is ready for what waits for it, from its live state alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from headroom.engine.rendered import Manifest

SKIP_AWAIT = "pulumi.com/skipAwait"
TIMEOUT = "pulumi.com/timeoutSeconds"
PROGRESS = "headroom.dev/progress"
"""On a Job that takes long: how far it says it is."""


@dataclass(frozen=True)
class State:
    """`text` says what it waits for or why it failed."""

    verdict: Literal["ready", "waiting", "failed"]
    text: str = ""


READY = State("ready")


def of(live: Manifest, late_binding: frozenset[str] = frozenset()) -> State:
    """The state of an object. `late_binding` are the storage classes whose claims bind only when a pod uses them; the
    empty string is in it when the default class is one."""
    annotations = live["metadata"].get("annotations") or {}
    if annotations.get(SKIP_AWAIT) == "true":
        return READY
    if live["kind"] == "PersistentVolumeClaim":
        return _claim(live, late_binding)
    check = _CHECKS.get(live["kind"])
    if check is None:
        return READY
    status = live.get("status") or {}
    seen, wanted = status.get("observedGeneration"), live["metadata"].get("generation")
    if live["kind"] in _GENERATIONS and (seen is None or seen < wanted):
        return State("waiting", "its controller has not seen it yet")
    found = check(live.get("spec") or {}, status)
    said = annotations.get(PROGRESS)
    return State("waiting", said) if said and found.verdict == "waiting" else found


def awaited(kind: str) -> bool:
    """Whether readiness of the kind means more than that it exists."""
    return kind in _CHECKS or kind == "PersistentVolumeClaim"


def _deployment(spec: Mapping[str, Any], status: Mapping[str, Any]) -> State:
    wanted = spec.get("replicas", 1)
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    for condition in status.get("conditions") or []:
        if condition.get("reason") == "ProgressDeadlineExceeded" and available < wanted:
            return State("failed", condition.get("message", "it made no progress"))
    if updated < wanted or available < wanted:
        return State("waiting", f"{min(updated, available)} of {wanted} pods ready")
    if status.get("replicas", 0) > updated:
        return State("waiting", f"{status['replicas'] - updated} old pods to go")
    return READY


def _stateful_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> State:
    wanted, ready = spec.get("replicas", 1), status.get("readyReplicas", 0)
    if ready < wanted:
        return State("waiting", f"{ready} of {wanted} pods ready")
    strategy = spec.get("updateStrategy") or {}
    partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
    if strategy.get("type") != "OnDelete":
        updated = status.get("updatedReplicas", 0)
        if status.get("currentRevision") != status.get("updateRevision") and updated < wanted - partition:
            return State("waiting", f"{updated} of {wanted - partition} pods updated")
    return READY


def _daemon_set(spec: Mapping[str, Any], status: Mapping[str, Any]) -> State:
    wanted = status.get("desiredNumberScheduled", 0)
    ready = min(status.get("numberAvailable", 0), status.get("updatedNumberScheduled", 0))
    return READY if ready >= wanted else State("waiting", f"{ready} of {wanted} pods ready")


def _job(spec: Mapping[str, Any], status: Mapping[str, Any]) -> State:
    for condition in status.get("conditions") or []:
        if condition.get("status") == "True" and condition.get("type") == "Complete":
            return READY
        if condition.get("status") == "True" and condition.get("type") == "Failed":
            return State("failed", condition.get("message") or "the Job failed")
    if spec.get("suspend"):
        return READY
    return State("waiting", f"{status.get('succeeded', 0)} of {spec.get('completions', 1)} done")


def _condition(name: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], State]:
    def check(_: Mapping[str, Any], status: Mapping[str, Any]) -> State:
        for condition in status.get("conditions") or []:
            if condition.get("type") == name and condition.get("status") == "True":
                return READY
        return State("waiting", f"not {name} yet")

    return check


def _autoscaler(spec: Mapping[str, Any], status: Mapping[str, Any]) -> State:
    """It has looked at its target, and there are the least pods, or it has asked for them; those are waited for with
    the Deployment.

    `currentReplicas` is what it found before it acted: only a second look, 15 s later, would show what the first did.
    `desiredReplicas` stays 0 while its metric is missing.
    """
    conditions = {c["type"]: c for c in status.get("conditions") or []}
    if "AbleToScale" not in conditions:
        return State("waiting", "it has not looked at its target yet")
    if conditions.get("ScalingActive", {}).get("reason") == "ScalingDisabled":
        return READY
    pods, least = max(status.get("currentReplicas", 0), status.get("desiredReplicas", 0)), spec.get("minReplicas", 1)
    return READY if pods >= least else State("waiting", f"{pods} of {least} pods started")


def _namespace(_: Mapping[str, Any], status: Mapping[str, Any]) -> State:
    phase = status.get("phase", "missing")
    return READY if phase == "Active" else State("waiting", f"it is {phase}")


def _claim(live: Manifest, late_binding: frozenset[str]) -> State:
    phase = (live.get("status") or {}).get("phase", "Pending")
    if phase == "Bound" or (live["spec"].get("storageClassName") or "") in late_binding:
        return READY
    if phase == "Lost":
        return State("failed", "its volume is lost")
    return State("waiting", "no volume is bound to it yet")


_CHECKS: dict[str, Callable[[Mapping[str, Any], Mapping[str, Any]], State]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "HorizontalPodAutoscaler": _autoscaler,
    "Job": _job,
    "Pod": _condition("Ready"),
    "Namespace": _namespace,
    "CustomResourceDefinition": _condition("Established"),
    "APIService": _condition("Available"),
}
_GENERATIONS = {"Deployment", "StatefulSet", "DaemonSet"}
