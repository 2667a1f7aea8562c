"""One service back to its former pods by Kubernetes' own memory, for a stack whose deployments are not recorded.

A Deployment keeps its former pod templates as ReplicaSets. Which of them got ready is not written anywhere; one that
still has ready pods is (a rollout that hangs), else it is the one before the current.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from headroom.errors import InputError
from headroom.kubectl import Manifest
from headroom.ops import delta as deltas
from headroom.ops import draft as drafts
from headroom.ops import live_service, splice
from headroom.ops.deploy import Request
from headroom.ops.draft import SERVICES, Draft
from headroom.ops.live_service import Live
from headroom.progress import Progress, step

REVISION = "deployment.kubernetes.io/revision"


@dataclass(frozen=True)
class Undo:
    """From one revision of the Deployment to another, and the stack file's edit: its image, where it names that."""

    live: Live
    draft: Draft
    current: int
    revision: int
    images: tuple[str, str]

    @property
    def recorded(self) -> bool:
        """Whether the stack file can say so: else the next `up` brings the newer pods again."""
        return self.images[0] == self.images[1] or self.draft.before != self.draft.after


def find(request: Request, service: str) -> Undo:
    """Raises InputError where there is no former revision."""
    text = drafts.read(request.file)
    plain = Draft(request.stack, request.file, text, text, lambda t: t)
    demand = plain.demand()
    live_service.known(demand, service)
    namespace = demand.services[service].namespace or demand.namespace
    kubectl = request.target.kubectl
    live = live_service.find(kubectl, request.stack, service, namespace)
    deployment = kubectl.get("deployment", service, "-n", namespace)
    sets = kubectl.items("replicasets", namespace, f"app.kubernetes.io/name={service}")
    own = [s for s in sets if _owner(s) == deployment["metadata"]["uid"]]
    current = _revision(deployment)
    now = next((s for s in own if _revision(s) == current), deployment)
    then = choose(own, current)
    images = (_image(now), _image(then))
    path = (*SERVICES, service, "image")

    def edit(text: str) -> str:
        return splice.put(text, path, images[1]) if splice.get(text, path) == images[0] else text

    return Undo(live, Draft.of(request.stack, request.file, edit), current, _revision(then), images)


def choose(sets: Sequence[Manifest], current: int) -> Manifest:
    """The newest former ReplicaSet that has ready pods, else the newest former one. Raises InputError."""
    former = [s for s in sets if _revision(s) != current]
    if not former:
        raise InputError(f"revision {current} of the Deployment is its first", fix="go back with git, then headroom up")
    return max(former, key=lambda s: (s.get("status", {}).get("readyReplicas", 0) > 0, _revision(s)))


def carry_out(request: Request, undo: Undo, progress: Progress) -> float:
    """Do it, and wait until the pods are ready. Returns seconds. Raises EnvironmentFailure."""
    started = time.monotonic()
    kubectl, live = request.target.kubectl, undo.live
    with undo.draft.writing() as commit:
        command = ("rollout", "undo", f"deployment/{live.name}", "-n", live.namespace)
        kubectl.run(*command, f"--to-revision={undo.revision}")
        if undo.draft.before != undo.draft.after:
            commit()
    with step(progress, f"waiting for {live.name}", f"{live.name} is ready"):
        deltas.ready(kubectl, [live.deployment], progress)
    return time.monotonic() - started


def _revision(found: Manifest) -> int:
    return int((found["metadata"].get("annotations") or {}).get(REVISION, 0))


def _owner(found: Manifest) -> str:
    return next((str(o["uid"]) for o in found["metadata"].get("ownerReferences") or []), "")


def _image(found: Manifest) -> str:
    return str(found["spec"]["template"]["spec"]["containers"][0]["image"])
