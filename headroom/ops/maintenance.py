"""Taking services down and bringing them back: no pods, and no autoscaler that starts them again.

An HPA takes no minimum of 0 (the API server refuses it on CPU and Pods metrics), but it leaves a Deployment with
0 replicas alone; a ScaledObject is paused by its annotation. Both are what `maintenance: true` renders, so this writes
that line and applies what follows from it.

Prod's stack file may not hold it. There the cluster alone is changed, by the same objects, and the next `up` ends it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headroom.capacity.plan import Plan
from headroom.engine import rollout
from headroom.engine.rendered import Manifest, ObjectId, RenderedObject
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.ops import delta as deltas
from headroom.ops import draft as drafts
from headroom.ops import history, live_service, splice
from headroom.ops.delta import Delta
from headroom.ops.deploy import Request
from headroom.ops.draft import SERVICES, Draft, Edit
from headroom.progress import Progress, step

PAUSED = "autoscaling.keda.sh/paused-replicas"


@dataclass(frozen=True)
class Change:
    """What would be done. In prod `draft` changes nothing."""

    on: bool
    services: tuple[str, ...]
    draft: Draft
    delta: Delta
    plan: Plan

    @property
    def nothing(self) -> bool:
        return not self.delta.changed and self.draft.before == self.draft.after


def propose(
    request: Request,
    service: str | None,
    progress: Progress,
    *,
    on: bool,
    yes_prod: bool = False,
    allow_dirty: bool = False,
) -> Change:
    """What taking one service (or all) down or up changes. Raises InputError for an unknown service and for prod."""
    text = drafts.read(request.file)
    demand = Draft(request.stack, request.file, text, text, lambda t: t).demand()
    if service is not None:
        live_service.known(demand, service)
    if not demand.services:
        raise InputError(f"stack {request.stack} has no services", fix="maintenance is for services without state")
    prod = demand.environment == "prod"
    if prod and on and not yes_prod:
        raise InputError(
            f"stack {request.stack} is prod: maintenance stops every pod of {service or 'every service'}",
            fix="roll changes out with the canary instead; if it must be down, add --yes-prod",
        )
    services = (service,) if service else tuple(demand.services)
    if not prod and not allow_dirty:
        history.refuse_edits(request, demand.namespace)
    draft = Draft.of(request.stack, request.file, (lambda t: t) if prod else _edit(services, on))
    plan = draft.plan()
    delta = deltas.between(request, draft, progress)
    if prod:
        delta = _paused(delta, services) if on else _resumed(delta, services)
    elif not on:
        # Somebody may have stopped them without the file's knowledge.
        delta = _with(delta, _stopped(request.target.kubectl, delta, services))
    return Change(on, services, draft, delta, plan)


def carry_out(request: Request, change: Change, progress: Progress) -> float:
    """Do it, and wait until the pods are gone, or there again. Returns seconds. Raises EnvironmentFailure."""
    started = time.monotonic()
    kubectl = request.target.kubectl
    with change.draft.writing() as commit:
        with step(progress, "telling the API", "the API has it"):
            deltas.check(kubectl, change.delta)
            deltas.apply(kubectl, change.delta, progress)
        if change.draft.before != change.draft.after:
            commit()
    for name in change.services:
        plan = live_service.planned(change.plan, name)
        live = live_service.find(kubectl, request.stack, name, plan.namespace)
        if change.on:
            if live.replicas:  # under KEDA, whose operator may take a while, or not be there
                live_service.set_replicas(kubectl, live, 0)
            with step(progress, f"{name}: its pods finish what they have", f"{name}: no pods"):
                _until_none(kubectl, name, plan.namespace, plan.drain.grace_period_seconds.value + 60.0, progress)
        else:
            live_service.set_replicas(kubectl, live, max(live.replicas, plan.min_replicas.value))
            with step(progress, f"{name}: starting {plan.min_replicas.value} pods", f"{name}: ready"):
                rollout.until_ready(kubectl, [live.deployment], deltas.READY_SECONDS, progress)
    return time.monotonic() - started


def _edit(services: Sequence[str], on: bool) -> Edit:
    def edit(text: str) -> str:
        for name in services:
            path = (*SERVICES, name, "maintenance")
            text = splice.put(text, path, True) if on else splice.drop(text, path)
        return text

    return edit


def _theirs(delta: Delta, services: Iterable[str]) -> list[RenderedObject]:
    """What decides how many pods of the services there are."""
    names = {n for s in services for n in (s, f"{s}-canary", f"{s}-hpa")}
    return [o for o in delta.after.values() if o.id.kind in ("Deployment", "ScaledObject") and o.id.name in names]


def _paused(delta: Delta, services: Iterable[str]) -> Delta:
    """Under an HPA no replicas; under KEDA its annotation, and the Deployment is KEDA's to stop."""
    scaled = {_target(o.manifest) for o in delta.after.values() if o.id.kind == "ScaledObject"}
    changed = []
    for o in _theirs(delta, services):
        if o.id.kind == "ScaledObject":
            notes = {**(o.manifest["metadata"].get("annotations") or {}), PAUSED: "0"}
            changed.append(
                replace(o, manifest={**o.manifest, "metadata": {**o.manifest["metadata"], "annotations": notes}})
            )
        elif o.id.name not in scaled:
            changed.append(replace(o, manifest={**o.manifest, "spec": {**o.manifest["spec"], "replicas": 0}}))
    return replace(delta, changed=tuple(changed))


def _resumed(delta: Delta, services: Iterable[str]) -> Delta:
    """As the program has them: fields that were ours go with the apply."""
    return replace(delta, changed=tuple(_theirs(delta, services)))


def _stopped(kubectl: Kubectl, delta: Delta, services: Iterable[str]) -> list[RenderedObject]:
    found = []
    for o in _theirs(delta, services):
        live: Any = kubectl.find(o.id.kind, o.id.name, o.id.namespace)
        if live is None:
            continue
        paused = PAUSED in (live["metadata"].get("annotations") or {})
        if paused or (o.id.kind == "Deployment" and live["spec"].get("replicas") == 0):
            found.append(o)
    return found


def _with(delta: Delta, objects: Sequence[RenderedObject]) -> Delta:
    known = {o.id for o in delta.changed}
    return replace(delta, changed=(*delta.changed, *(o for o in objects if o.id not in known)))


def _target(scaled_object: Manifest) -> str:
    return str(scaled_object["spec"]["scaleTargetRef"]["name"])


def _until_none(kubectl: Kubectl, name: str, namespace: str, seconds: float, progress: Progress) -> None:
    pods = kubectl.items("pods", namespace, f"app.kubernetes.io/name={name}")
    ids = [ObjectId("v1", "Pod", namespace, p["metadata"]["name"]) for p in pods]
    try:
        rollout.until_gone(kubectl, ids, seconds, progress)
    except EnvironmentFailure as error:
        raise EnvironmentFailure(error.message, fix=f"kubectl get pods -n {namespace} -l app={name}") from error
