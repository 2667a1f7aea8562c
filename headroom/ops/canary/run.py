"""`canary start`, `promote` and `abort`: edits of `canary: {image, weight}` in the stack file, and what follows.

The canary is a part of the stack like any other: the next `up` keeps it, under either engine, and its Deployment,
policies and quota are the program's. Stopped at any moment, the stack file and the cluster say the same within a
second, and `abort` takes away whatever is there.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from headroom.capacity.plan import Plan
from headroom.capacity.plan.model import ServicePlan
from headroom.capacity.plan.pods import Size
from headroom.engine import record, rollout
from headroom.engine.rendered import ObjectId, RenderedObject
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl, Manifest
from headroom.ops import delta as deltas
from headroom.ops import draft as drafts
from headroom.ops import history, live_service, splice
from headroom.ops.canary.verdict import Verdict, ailing, judge
from headroom.ops.delta import Delta
from headroom.ops.deploy import Request
from headroom.ops.draft import SERVICES, Draft, Edit
from headroom.ops.live_service import Live
from headroom.ops.scale import capacity
from headroom.ops.scale.run import remember
from headroom.ops.signals import Limits, Watcher, between, broken
from headroom.progress import Progress, step

LOOK_SECONDS = 5.0
LOOKS = 3
"""So many in a row that find a pod unready or silent, or learn nothing, and it is no accident."""
START_SECONDS = 180.0


@dataclass(frozen=True)
class Change:
    """What would be done. `running` says that this very canary is there already."""

    service: str
    draft: Draft
    delta: Delta
    plan: Plan
    live: Live
    running: bool = False

    @property
    def service_plan(self) -> ServicePlan:
        return live_service.planned(self.plan, self.service)

    @property
    def canary(self) -> ObjectId:
        """The canary's Deployment."""
        return ObjectId("apps/v1", "Deployment", self.live.namespace, f"{self.service}-canary")


def propose_start(
    request: Request, service: str, image: str, weight: Decimal, progress: Progress, *, allow_dirty: bool = False
) -> Change:
    """Check a canary and change nothing. Raises InputError, or EnvironmentFailure where it finds no room."""
    text = _checked(request, service, allow_dirty)
    path = (*SERVICES, service, "canary")
    given = splice.get(text, path)
    wanted = {"image": image, "weight": weight.normalize()}
    if given is not None and (given.get("image"), Decimal(given.get("weight", 0))) != (image, weight):
        raise InputError(
            f"{service} has a canary already: {given.get('image')} at {given.get('weight')}",
            fix=f"headroom canary promote {service}, or headroom canary abort {service}",
        )
    change = _change(request, service, (lambda t: t) if given else (lambda t: splice.put(t, path, wanted)), progress)
    if change.service_plan.maintenance:
        raise InputError(f"{service} is in maintenance", fix=f"headroom maintenance off {service}")
    kubectl = request.target.kubectl
    there = kubectl.find("deployment", change.canary.name, change.live.namespace)
    if there is not None and given is not None:
        return replace(change, running=True)
    if given is not None:  # the file has it and the cluster has not: somebody deleted it, or no `up` came yet
        change = replace(change, delta=_adding(change, progress))
    change = replace(change, delta=_with_live_marks(kubectl, change))
    _check_room(kubectl, change)
    deltas.check(kubectl, change.delta)
    return change


def start(request: Request, change: Change, progress: Progress) -> None:
    """Deploy the canary and record it. Raises EnvironmentFailure when the API server refuses; nothing is left then."""
    if change.running:
        progress.note(f"the canary of {change.service} runs already: watching it")
        return
    with change.draft.writing() as commit:
        with step(progress, "telling the API", "the API has the canary"):
            deltas.apply(request.target.kubectl, change.delta, progress)
        if change.draft.before != change.draft.after:
            commit()


def watch(
    request: Request, change: Change, seconds: float, progress: Progress, *, limits: Limits | None = None
) -> Verdict:
    """Wait until the canary's pods are ready, then compare them with the stable ones for a while.

    Ends early as soon as they are worse, or will not get well by waiting. A pod that hangs or does not take requests
    for some looks is worse, whatever it counted before.

    Raises EnvironmentFailure when nothing can be learned; the canary then stays, and the message says so.
    """
    try:
        with step(progress, "waiting for the canary's pods", "the canary takes requests"):
            _until_ready(request.target.kubectl, change, progress)
        return _compare(Watcher.of(request.target.kubectl, change.service_plan), seconds, progress, limits)
    except _Hopeless as found:
        return Verdict("worse", str(found))
    except EnvironmentFailure as error:
        raise EnvironmentFailure(
            f"{error.message}\nthe canary of {change.service} stays, and nobody watches it",
            fix=f"headroom canary abort {change.service} --stack {request.stack} takes it away; "
            "the same command again goes on watching",
        ) from error


def _compare(watcher: Watcher, seconds: float, progress: Progress, limits: Limits | None) -> Verdict:
    progress.note(watcher.told())
    first = watcher.look()
    last = dict(first)
    ill: dict[str, int] = {}
    missed = late = 0
    end = time.monotonic() + seconds
    with step(progress, f"comparing it with the stable pods for {seconds:.0f} s", "compared"):
        while True:
            time.sleep(LOOK_SECONDS if ill or missed else max(0.0, min(LOOK_SECONDS, end - time.monotonic())))
            try:
                heard = watcher.heard()
                pods = {track: watcher.pods(track) for track in ("stable", "canary")}
            except EnvironmentFailure as error:
                missed += 1
                if missed >= LOOKS:
                    raise
                progress.detail(f"nothing was learned: {error.message[:80]}")
                continue
            missed = 0
            last |= heard.counters
            known, seen = (between(first, last, (p["metadata"]["name"] for p in some)) for some in pods.values())
            troubles = ailing(pods["canary"], heard.silent)
            ill = {pod: ill.get(pod, 0) + 1 for pod in troubles}
            lasting = next((words for pod, words in troubles.items() if ill[pod] >= LOOKS), "")
            verdict = judge(known, seen, broken(pods["canary"]) or lasting, limits)
            progress.detail(f"{max(0.0, end - time.monotonic()):.0f} s to go; canary {seen}; stable {known}")
            late += time.monotonic() >= end
            if verdict.word == "worse" or (late and not ill) or late > LOOKS:
                return verdict


def propose_promote(request: Request, service: str, progress: Progress, *, allow_dirty: bool = False) -> Change:
    """The canary's image for all pods. Raises InputError where there is no canary to promote."""
    text = _checked(request, service, allow_dirty)
    path = (*SERVICES, service)
    given = splice.get(text, (*path, "canary"))

    def edit(text: str) -> str:
        image = splice.get(text, (*path, "canary", "image"))
        return splice.drop(splice.put(text, (*path, "image"), image), (*path, "canary")) if image else text

    change = _change(request, service, edit, progress)
    if given is None:
        change = replace(change, delta=_left_over(request.target.kubectl, change))
        if not change.delta.removed:
            raise InputError(f"{service} has no canary", fix=f"headroom canary start {service} --image …")
    return change


def promote(request: Request, change: Change, progress: Progress) -> float:
    """Roll the image out, then take the canary away. Returns seconds. Raises EnvironmentFailure."""
    started = time.monotonic()
    kubectl = request.target.kubectl
    with change.draft.writing() as commit:
        with step(progress, "telling the API", "the API has the new image"):
            deltas.check(kubectl, change.delta)
            deltas.apply(kubectl, change.delta, progress)
        if change.draft.before != change.draft.after:
            commit()
    with step(progress, f"rolling {change.service} out", f"{change.service} is rolled out"):
        try:
            deltas.ready(kubectl, sorted({o.id for o in change.delta.changed} | {change.live.deployment}), progress)
        except EnvironmentFailure as error:
            raise EnvironmentFailure(error.message, fix=f"headroom rollback {change.service}") from error
    deltas.remove(kubectl, change.delta, progress)
    remember(request, change.plan.namespace, "canary promote")
    return time.monotonic() - started


def propose_abort(request: Request, service: str, progress: Progress) -> Change:
    """The canary away, from the stack file and from the cluster, whichever has it."""
    _checked(request, service, allow_dirty=True)
    path = (*SERVICES, service, "canary")
    change = _change(request, service, lambda t: splice.drop(t, path), progress)
    left = _left_over(request.target.kubectl, change)
    known = {o.id for o in change.delta.removed}
    removed = (*change.delta.removed, *(o for o in left.removed if o.id not in known))
    return replace(change, delta=replace(change.delta, removed=removed))


def abort(request: Request, change: Change, progress: Progress) -> None:
    """Take the canary away; done again, it does nothing. The pods finish what they have. Raises EnvironmentFailure."""
    kubectl = request.target.kubectl
    with change.draft.writing() as commit:
        deltas.remove(kubectl, change.delta, progress)
        deltas.apply(kubectl, change.delta, progress)
        deltas.settle(kubectl, change.delta)
        if change.draft.before != change.draft.after:
            commit()


def _checked(request: Request, service: str, allow_dirty: bool) -> str:
    text = drafts.read(request.file)
    demand = Draft(request.stack, request.file, text, text, lambda t: t).demand()
    live_service.known(demand, service)
    if not allow_dirty:
        history.refuse_edits(request, demand.namespace)
    return text


def _change(request: Request, service: str, edit: Edit, progress: Progress) -> Change:
    draft = Draft.of(request.stack, request.file, edit)
    plan = draft.plan()
    namespace = live_service.planned(plan, service).namespace
    live = live_service.find(request.target.kubectl, request.stack, service, namespace)
    return Change(service, draft, deltas.between(request, draft, progress), plan, live)


def _adding(change: Change, progress: Progress) -> Delta:
    """The delta with the canary's Deployment, which both texts have."""
    canary = change.delta.find("Deployment", change.canary.name)
    return replace(change.delta, changed=(*change.delta.changed, *([canary] if canary else [])))


def _with_live_marks(kubectl: Kubectl, change: Change) -> Delta:
    """The canary's pods have the marks of the live stable ones: the fingerprints of passwords are not always known."""
    found: Manifest = kubectl.get("deployment", change.service, "-n", change.live.namespace)
    live: dict[str, Any] = found["spec"]["template"]["metadata"].get("annotations") or {}

    def marked(o: RenderedObject) -> RenderedObject:
        if o.id != change.canary:
            return o
        template = o.manifest["spec"]["template"]
        own = template["metadata"].get("annotations") or {}
        metadata = {**template["metadata"], "annotations": {k: live.get(k, v) for k, v in own.items()}}
        spec = {**o.manifest["spec"], "template": {**template, "metadata": metadata}}
        return replace(o, manifest={**o.manifest, "spec": spec})

    return replace(change.delta, changed=tuple(marked(o) for o in change.delta.changed))


def _check_room(kubectl: Kubectl, change: Change) -> None:
    """Raises EnvironmentFailure when the canary finds no place."""
    service = change.service_plan
    pod, more = Size.of((service.resources,)), service.canary.replicas.value if service.canary else 0
    found = capacity.exceeded(kubectl.items("resourcequotas", service.namespace), pod, more)
    found += [short] if (short := capacity.shortage(capacity.rooms(kubectl), pod, more)) else []
    if found:
        raise EnvironmentFailure(
            "the canary finds no room; nothing was changed:\n  - " + "\n  - ".join(found),
            fix="a smaller --weight, more nodes, or a larger quota",
        )


def _left_over(kubectl: Kubectl, change: Change) -> Delta:
    """A canary's Deployment that is on the cluster and not in the stack file."""
    if kubectl.find("deployment", change.canary.name, change.live.namespace) is None:
        return replace(change.delta, removed=())
    stub = RenderedObject("", change.canary.name, "", change.canary.stub())
    if record.retained(change.canary, stub.retain) or change.canary in change.delta.after:
        return replace(change.delta, removed=())
    return replace(change.delta, removed=(stub,))


class _Hopeless(Exception):
    """Why the canary's pods will not get ready."""


def _until_ready(kubectl: Kubectl, change: Change, progress: Progress) -> None:
    """Until all its pods are ready. Raises _Hopeless when they will not be."""
    watcher = Watcher(kubectl, change.service_plan)
    end = time.monotonic() + START_SECONDS
    while True:
        if reason := broken(watcher.pods("canary")):
            raise _Hopeless(reason)
        try:
            rollout.until_ready(kubectl, [change.canary], LOOK_SECONDS, progress)
        except EnvironmentFailure as error:
            if time.monotonic() > end:
                reason = f"not ready within {START_SECONDS:.0f} s: {error.message.splitlines()[0]}"
                raise _Hopeless(reason) from error
        else:
            return
