"""Why something does not get ready: its events, its pods, what they wait for, their last words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headroom.engine.rendered import Manifest, ObjectId
from headroom.errors import HeadroomError
from headroom.kubectl import Kubectl
from headroom.redaction.logs import readable

_PODS = 3
_LOG_LINES = 5
_TIMEOUT = 15


def why(kubectl: Kubectl, live: Manifest) -> list[str]:
    """Lines for a person. Never raises for a cluster that does not answer: it says what it could find out."""
    identity = ObjectId.of(live)
    lines: list[str] = []
    try:
        lines += _events(kubectl, identity)
        pods = _pods(kubectl, live)
        bad = [p for p in pods if not _is_ready(p)]
        for pod in bad[:_PODS]:
            lines += _pod(kubectl, pod)
        if len(bad) > _PODS:
            lines.append(f"and {len(bad) - _PODS} more pods that are not ready")
    except HeadroomError as error:
        lines.append(f"no more could be found out: {error.message}")
    return [readable(line) for line in lines]  # events quote what probes got from the program


def in_short(kubectl: Kubectl, live: Manifest) -> str:
    """The reason of the first of its pods that is not ready and says one; empty while none does."""
    try:
        reasons = (readable(waiting_reason(pod)) for pod in _pods(kubectl, live) if not _is_ready(pod))
        return next((reason for reason in reasons if reason), "")
    except HeadroomError:
        return ""


def waiting_reason(pod: Manifest) -> str:
    """In a few words why a pod is not ready; empty when its status says nothing."""
    status = pod.get("status") or {}
    for container in _containers(status):
        state = container.get("state") or {}
        waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason") not in (None, "PodInitializing", "ContainerCreating"):
            return f"{container['name']}: {_sentence(waiting)}"
        if ended and ended.get("exitCode"):
            return f"{container['name']}: ended with exit code {ended['exitCode']} ({ended.get('reason', '')})"
    for condition in status.get("conditions") or []:
        if condition.get("status") == "False" and condition.get("message"):
            return str(condition["message"])
    return ""


def _pod(kubectl: Kubectl, pod: Manifest) -> Iterator[str]:
    identity = ObjectId.of({"apiVersion": "v1", "kind": "Pod", **pod})
    phase = (pod.get("status") or {}).get("phase", "unknown")
    yield f"pod {identity.name} is {phase}: {waiting_reason(pod) or 'no reason given'}"
    yield from (f"  {line}" for line in _events(kubectl, identity))
    for container in _containers(pod.get("status") or {}):
        state = container.get("state") or {}
        failed = (state.get("terminated") or {}).get("exitCode")
        if container.get("ready") or not (container.get("restartCount") or state.get("running") or failed):
            continue
        previous = ["--previous"] if state.get("waiting") else []
        done = kubectl.run(
            *("logs", identity.name, "-n", identity.namespace, "-c", container["name"], f"--tail={_LOG_LINES}"),
            *previous,
            timeout=_TIMEOUT,
            check=False,
        )
        words = readable(done.stdout).strip()
        if done.returncode == 0 and words:
            yield f"  last lines of {container['name']}:"
            yield from (f"    {line}" for line in words.splitlines()[-_LOG_LINES:])


def _events(kubectl: Kubectl, identity: ObjectId) -> list[str]:
    if not identity.namespace:
        return []
    fields = f"involvedObject.name={identity.name},involvedObject.kind={identity.kind},type=Warning"
    events = kubectl.get("events", "-n", identity.namespace, "--field-selector", fields, timeout=_TIMEOUT)["items"]
    events.sort(key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "")
    latest = {f"{e.get('reason')}: {(e.get('message') or '').strip()}": None for e in events}
    return [f"event {text}" for text in list(latest)[-3:]]


def _pods(kubectl: Kubectl, live: Manifest) -> list[Manifest]:
    labels = ((live.get("spec") or {}).get("selector") or {}).get("matchLabels") or {}
    if live["kind"] == "Pod":
        return [live]
    if not labels:
        return []
    selector = ",".join(f"{k}={v}" for k, v in sorted(labels.items()))
    return list(kubectl.get("pods", "-n", live["metadata"]["namespace"], "-l", selector, timeout=_TIMEOUT)["items"])


def _is_ready(pod: Manifest) -> bool:
    status = pod.get("status") or {}
    if status.get("phase") == "Succeeded":
        return True
    return any(c.get("type") == "Ready" and c.get("status") == "True" for c in status.get("conditions") or [])


def _containers(status: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]


def _sentence(state: dict[str, Any]) -> str:
    return f"{state.get('reason')} ({state['message']})" if state.get("message") else str(state.get("reason"))
