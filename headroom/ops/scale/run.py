"""Scaling: what would be done and what speaks against it (`propose`), then the doing (`carry_out`).

The API comes first and the stack file second: the file's new text lies ready beside it before the cluster is touched,
and takes its place in one rename as soon as the API has accepted everything. So a refusal of the API leaves both as
they were, and from the first moment on `headroom up` keeps what was scaled.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

from headroom.capacity.plan import Plan
from headroom.capacity.plan.model import ServicePlan
from headroom.capacity.plan.pods import Size
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.ops import delta as deltas
from headroom.ops import draft as drafts
from headroom.ops import history, live_service
from headroom.ops.delta import Delta
from headroom.ops.deploy import Request
from headroom.ops.draft import Draft, Edit
from headroom.ops.live_service import Live
from headroom.ops.scale import bounds, capacity
from headroom.progress import Progress, step


@dataclass(frozen=True)
class Ask:
    """What a person asks for. `to` and the sizes are None where they are not to change; `restore` takes all back.

    `force` goes on where the live cluster has no room (more nodes may be on their way); a plan that refuses is never
    forced.
    """

    service: str
    to: int | None = None
    because: str = ""
    cpu: str | None = None
    memory: str | None = None
    restore: bool = False
    force: bool = False
    allow_dirty: bool = False


@dataclass(frozen=True)
class Proposal:
    """What would be done. `held` is what scaling had written before; `after` is the plan with the edit in it."""

    ask: Ask
    draft: Draft
    delta: Delta
    live: Live
    after: Plan
    target: int
    warnings: tuple[str, ...]
    held: dict[str, Any]

    @property
    def service(self) -> ServicePlan | None:
        """The service's plan after the edit; None for PgBouncer."""
        return next((s for s in self.after.services if s.key == self.ask.service), None)

    @property
    def nothing(self) -> bool:
        """Whether the file and the cluster say all this already."""
        return self.draft.before == self.draft.after and not self.delta.changed and not self.outside

    @property
    def outside(self) -> bool:
        """Whether the live bounds or pods are not what the edit wants."""
        least, most = _wanted(self)
        return (self.live.least, self.live.most) not in ((least, most), (None, None)) or self.live.replicas < least


@dataclass(frozen=True)
class Outcome:
    """What was done: pods ready at the end, and seconds until then."""

    ready: int
    seconds: float


def propose(request: Request, ask: Ask, progress: Progress) -> Proposal:
    """Check everything and change nothing.

    Raises InputError for what cannot work (an unknown service, a plan that refuses, edits in the way),
    EnvironmentFailure for what this cluster has no room for.
    """
    text = drafts.read(request.file)
    demand = Draft(request.stack, request.file, text, text, lambda t: t).demand()
    live_service.known(demand, ask.service, *([bounds.POOLER] if demand.postgres else []))
    if not ask.allow_dirty:
        history.refuse_edits(request, demand.namespace)
    draft = Draft.of(request.stack, request.file, edit_of(request, ask, text))
    after = _planned(draft, ask)
    service = next((s for s in after.services if s.key == ask.service), None)
    if service is not None and service.maintenance:
        raise InputError(
            f"{ask.service} is in maintenance: its pods are meant to be none",
            fix=f"headroom maintenance off {ask.service} --stack {request.stack}",
        )
    kubectl = request.target.kubectl
    namespace = service.namespace if service else after.namespace
    live = live_service.find(kubectl, request.stack, ask.service, namespace)
    delta = deltas.between(request, draft, progress)
    least, _ = _bounds_of(after, ask.service)
    proposal = Proposal(
        ask, draft, delta, live, after, least, _warnings(ask, live, least), dict(bounds.held(text, ask.service))
    )
    with step(progress, "checking nodes, quotas and the API server", "the cluster has room"):
        _check_room(kubectl, proposal)
        deltas.check(kubectl, delta)
    return proposal


def edit_of(request: Request, ask: Ask, text: str) -> Edit:
    """The edit that answers an ask. Raises InputError for one that asks for nothing, or for two things."""
    if ask.restore:
        return bounds.restored(ask.service)
    edits: list[Edit] = []
    if ask.cpu is not None or ask.memory is not None:
        if ask.service == bounds.POOLER:
            raise InputError("PgBouncer's pods are sized by headroom:pgbouncer", fix="edit cpu and memory there")
        edits.append(bounds.pod_size(ask.service, ask.cpu, ask.memory, ask.because))
    if ask.to is not None:
        plain = None
        if ask.service != bounds.POOLER:
            without = Draft(request.stack, request.file, text, bounds.unraised(ask.service)(text), lambda t: t)
            plain = live_service.planned(without.plan(), ask.service)
        edits.append(bounds.replicas(ask.service, bounds.counted(ask.to), ask.because, plain))

    def edit(text: str) -> str:
        for one in edits:
            text = one(text)
        return text

    return edit


def carry_out(request: Request, proposal: Proposal, progress: Progress) -> Outcome:
    """Do it, and wait until the pods are ready. Raises EnvironmentFailure."""
    started = time.monotonic()
    kubectl, draft, delta = request.target.kubectl, proposal.draft, proposal.delta
    with draft.writing() as commit:
        with step(progress, f"telling the API: {_said(proposal)}", f"the API has it: {_said(proposal)}"):
            deltas.apply(kubectl, delta, progress)
            if proposal.outside and not delta.changed:
                _bounds_again(kubectl, request, proposal)
        commit()
    with step(progress, f"waiting for {proposal.ask.service}", f"{proposal.ask.service} is ready"):
        _move(kubectl, proposal)
        ids = {o.id for o in delta.changed} | {proposal.live.deployment}
        deltas.ready(kubectl, sorted(ids), progress)
    deltas.remove(kubectl, delta, progress)
    if proposal.ask.cpu or proposal.ask.memory:
        remember(request, proposal.after.namespace, "scale")
    now = live_service.find(kubectl, request.stack, proposal.live.name, proposal.live.namespace)
    return Outcome(now.ready, time.monotonic() - started)


def wait(request: Request, proposal: Proposal, progress: Progress) -> Outcome:
    """Wait for pods that are asked for already: the run that asked was stopped. Raises EnvironmentFailure."""
    started, live = time.monotonic(), proposal.live
    with step(progress, f"waiting for {live.name}", f"{live.name} is ready"):
        deltas.ready(request.target.kubectl, [live.deployment], progress)
    now = live_service.find(request.target.kubectl, request.stack, live.name, live.namespace)
    return Outcome(now.ready, time.monotonic() - started)


def remember(request: Request, namespace: str, what: str) -> None:
    """Add what the stack file says now to the stack's history, as a healthy revision."""
    text, deployed = history.texts(request)
    with history.deploying(request.target.kubectl, request.stack, namespace, what, text=text, deployed=deployed):
        pass


def _planned(draft: Draft, ask: Ask) -> Plan:
    try:
        return draft.plan()
    except InputError as error:
        what = "going back to the plan" if ask.restore else f"{ask.service} with {_asked(ask)}"
        raise InputError(f"{what} cannot work: {error.message}", fix=error.fix) from error


def _asked(ask: Ask) -> str:
    parts = [f"{ask.to} pods"] if ask.to is not None else []
    parts += [f"pods of cpu {ask.cpu}"] if ask.cpu else []
    parts += [f"pods of memory {ask.memory}"] if ask.memory else []
    return " and ".join(parts)


def _bounds_of(plan: Plan, service: str) -> tuple[int, int]:
    found = next((s for s in plan.services if s.key == service), None)
    if found is not None:
        return found.min_replicas.value, found.max_replicas.value
    count = plan.pgbouncer.replicas.value if plan.pgbouncer else 1
    return count, count


def _wanted(proposal: Proposal) -> tuple[int, int]:
    return _bounds_of(proposal.after, proposal.ask.service)


def _warnings(ask: Ask, live: Live, least: int) -> tuple[str, ...]:
    found = [warning] if (warning := bounds.sudden(live.replicas, least)) else []
    if ask.to is not None and least < live.replicas:
        found.append(
            f"{live.replicas} pods run: the autoscaler goes down to {least} as the load allows, after its window"
        )
    if ask.cpu or ask.memory:
        found.append("rpsPerPod and serviceTime were measured on the old size: measure again with headroom load")
    return tuple(found)


def _check_room(kubectl: Kubectl, proposal: Proposal) -> None:
    """Raises EnvironmentFailure when the new pods find no place now."""
    pod = _pod(proposal)
    if pod is None or proposal.ask.force:
        return
    more = max(0, proposal.target - proposal.live.replicas)
    service = proposal.service
    if service is not None and (proposal.ask.cpu or proposal.ask.memory):
        more = max(more, service.surge_pods.value if proposal.live.replicas else 0)  # a rollout begins with these
    if more == 0:
        return
    found = capacity.exceeded(kubectl.items("resourcequotas", proposal.live.namespace), pod, more)
    found += [short] if (short := capacity.shortage(capacity.rooms(kubectl), pod, more)) else []
    if found:
        raise EnvironmentFailure(
            f"{proposal.ask.service} with {_asked(proposal.ask) or 'its planned pods'} finds no room; "
            "nothing was changed:\n  - " + "\n  - ".join(found),
            fix="ask for fewer pods, add nodes or raise the quota; --force where more nodes come by themselves",
        )


def _pod(proposal: Proposal) -> Size | None:
    if proposal.service is not None:
        return Size.of((proposal.service.resources,))
    bouncer = proposal.after.pgbouncer
    return Size.of((bouncer.resources, *bouncer.sidecars.values())) if bouncer else None


def _said(proposal: Proposal) -> str:
    least, most = _wanted(proposal)
    if least == most:
        return f"{proposal.live.name} {least} pods"
    return f"{proposal.live.name} {least} to {most} pods"


def _move(kubectl: Kubectl, proposal: Proposal) -> None:
    """Have the Deployment inside its bounds now: its autoscaler looks only every 15 s."""
    if proposal.service is None:
        return
    least, most = _wanted(proposal)
    now = live_service.find(kubectl, proposal.draft.stack, proposal.live.name, proposal.live.namespace)
    if not least <= now.replicas <= most:
        live_service.set_replicas(kubectl, proposal.live, min(max(now.replicas, least), most))


def _bounds_again(kubectl: Kubectl, request: Request, proposal: Proposal) -> None:
    """Somebody has moved the live bounds away from what the file says: put them back."""
    for kind in live_service.AUTOSCALERS:
        found = proposal.delta.find(kind, f"{proposal.live.name}-hpa")
        if found is not None:
            deltas.put(kubectl, request.stack, [found])


def at(proposal: Proposal, because: str, to: int) -> Ask:
    """The ask that holds a service at the count that a gradual scaling has reached."""
    return replace(proposal.ask, to=to, because=because, restore=False, force=True, allow_dirty=True)
