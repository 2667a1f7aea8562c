"""Waiting, with news and an end: until objects are ready, or until they are gone."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Sequence

from headroom.engine import diagnose, live, readiness
from headroom.engine.rendered import Manifest, ObjectId
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.progress import Progress

_FIRST_POLL, _POLL = 0.1, 1.0
"""Seconds between two looks: most waves are ready at once, and each look of one that takes long costs CPU."""
_AWAY = 120.0
"""Seconds without an answer of an API server that has answered before: what is waited for goes on without it."""
_ASK = 8.0  # seconds between questions after the pods of what takes long
AGAIN = "correct what is said above, then run the same command again: it goes on from here"
BACK = (
    "or, if an earlier deployment got ready, go back to it: headroom rollback SERVICE, or all of it: headroom rollback"
)


def until_ready(
    kubectl: Kubectl,
    ids: Iterable[ObjectId],
    timeout: float,
    progress: Progress,
    *,
    known: Mapping[ObjectId, Manifest] | None = None,
) -> None:
    """Wait until all objects are ready. `timeout` is in seconds; an object's `pulumi.com/timeoutSeconds` may extend it.
    `known` are recent states of objects that nobody has touched since: those that are ready are not asked for again.

    Raises EnvironmentFailure with a diagnosis when one fails or time is up, and when the API server stays away.
    """
    known = known or {}
    left = {i for i in ids if readiness.awaited(i.kind)}
    left -= {i for i in left if i in known and readiness.of(known[i]) == readiness.READY}
    late = _late_binding(kubectl) if any(i.kind == "PersistentVolumeClaim" for i in left) else frozenset()
    total, start = len(left), time.monotonic()
    asked, reason, pause = start, "", _FIRST_POLL
    heard: float | None = None
    while left:
        try:
            seen = live.read(kubectl, left)
        except EnvironmentFailure as error:
            if heard is None or time.monotonic() - heard > _AWAY:
                raise
            progress.detail(f"the API server does not answer: {error.message[:80]}")
            time.sleep(_POLL)
            continue
        heard = time.monotonic()
        states = {
            i: readiness.of(seen[i], late) if i in seen else readiness.State("failed", "it is gone") for i in left
        }
        failed = [i for i, s in states.items() if s.verdict == "failed"]
        if failed:
            raise _failure(kubectl, sorted(failed), states, seen, "failed")
        left = {i for i, s in states.items() if s.verdict == "waiting"}
        if not left:
            return
        if time.monotonic() - start > max(timeout, *(_own_timeout(seen[i]) for i in left)):
            raise _failure(kubectl, sorted(left), states, seen, f"did not get ready within {timeout:.0f} s")
        first = min(left)
        more = f", and {len(left) - 1} more" if len(left) > 1 else ""
        if time.monotonic() - asked > _ASK:
            with contextlib.suppress(EnvironmentFailure):
                reason = diagnose.in_short(kubectl, seen[first])
            asked = time.monotonic()
        because = f" ({reason})" if reason else ""
        progress.detail(f"{total - len(left)} of {total} ready; {first}: {states[first].text}{because}{more}")
        time.sleep(pause)
        pause = min(_POLL, pause * 1.5)


def until_gone(kubectl: Kubectl, ids: Sequence[ObjectId], timeout: float, progress: Progress) -> None:
    """Wait until none of the objects exists. Raises EnvironmentFailure naming what holds the first one back."""
    start, pause = time.monotonic(), _FIRST_POLL
    left = live.read(kubectl, ids)
    while left:
        first = min(left)
        progress.detail(f"{len(ids) - len(left)} of {len(ids)} gone; {first} is going")
        if time.monotonic() - start > timeout:
            held = _held_by(left[first])
            raise EnvironmentFailure(f"{first} is still there after {timeout:.0f} s{held}", fix=AGAIN)
        time.sleep(pause)
        pause = min(_POLL, pause * 1.5)
        left = live.read(kubectl, left)


def _failure(
    kubectl: Kubectl,
    ids: Sequence[ObjectId],
    states: dict[ObjectId, readiness.State],
    seen: dict[ObjectId, Manifest],
    what: str,
) -> EnvironmentFailure:
    lines: list[str] = []
    for identity in ids[:3]:
        lines.append(f"{identity} {what}: {states[identity].text}")
        lines += [f"  {line}" for line in (diagnose.why(kubectl, seen[identity]) if identity in seen else [])]
    if len(ids) > 3:
        lines.append(f"and {len(ids) - 3} more: {', '.join(str(i) for i in ids[3:8])}")
    back = f"; {BACK}" if any(i.kind == "Deployment" for i in ids) else ""
    return EnvironmentFailure("\n".join(lines), fix=AGAIN + back)


def _own_timeout(manifest: Manifest) -> float:
    text = (manifest["metadata"].get("annotations") or {}).get(readiness.TIMEOUT, "0")
    return float(text) if text.isdigit() else 0.0


def _held_by(manifest: Manifest) -> str:
    finalizers = manifest["metadata"].get("finalizers") or (manifest.get("spec") or {}).get("finalizers") or []
    conditions = [
        c["message"]
        for c in (manifest.get("status") or {}).get("conditions") or []
        if c.get("status") == "True" and c.get("message")
    ]
    words = [f"held by {', '.join(finalizers)}"] * bool(finalizers) + conditions
    return f": {'; '.join(words)}" if words else ""


def _late_binding(kubectl: Kubectl) -> frozenset[str]:
    found: set[str] = set()
    for item in kubectl.get("storageclasses")["items"]:
        if item.get("volumeBindingMode") == "WaitForFirstConsumer":
            found.add(item["metadata"]["name"])
            annotations = item["metadata"].get("annotations") or {}
            if annotations.get("storageclass.kubernetes.io/is-default-class") == "true":
                found.add("")
    return frozenset(found)
