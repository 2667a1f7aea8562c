"""Scaling in steps: a wait after each, errors and latency watched, and an end by itself when they rise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from headroom.capacity.plan.model import ServicePlan
from headroom.engine.rendered import RenderedObject
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops import delta as deltas
from headroom.ops import live_service
from headroom.ops.deploy import Request
from headroom.ops.live_service import AUTOSCALERS
from headroom.ops.scale import bounds, run
from headroom.ops.scale.run import Outcome, Proposal
from headroom.ops.signals import Counters, Limits, Look, Reading, Watcher, between, broken, worse
from headroom.progress import Progress, step

BASELINE_SECONDS = 15.0
UP_SECONDS = 30.0
LOOK_SECONDS = 5.0
LOOKS = 3
"""So many in a row without an answer, and it is no accident."""


@dataclass
class Walk:
    """How far the steps have come, and why they ended before their end."""

    reached: int
    reason: str = ""

    def to(self, end: int, go: Callable[[int, int], str]) -> None:
        """Step by step; `go(from, to)` says why it must not go on, or nothing. A bad step down is one not taken."""
        up = end > self.reached
        for pods in bounds.steps(self.reached, end):
            self.reason = go(self.reached, pods)
            if self.reason:
                self.reached = pods if up else self.reached
                return
            self.reached = pods


def wait_seconds(proposal: Proposal) -> float:
    """How long to wait after a step: on the way down until the pods that go have drained, on the way up long enough to
    see the new ones serve."""
    service = proposal.service
    if service is None or proposal.target > proposal.live.replicas:
        return UP_SECONDS
    return float(service.drain.pre_stop_seconds + service.drain.drain_seconds)


def carry_out(
    request: Request, proposal: Proposal, progress: Progress, *, wait: float | None = None, limits: Limits | None = None
) -> Outcome:
    """As `run.carry_out`, in steps of at most a quarter of the pods.

    While it lasts both bounds of the autoscaler are the step's count, so that it goes where it is led. Stopped, by
    errors or by Ctrl-C, the service is held where it is (after errors on the way down: one step back), and the stack
    file says so.

    Raises EnvironmentFailure when errors or latency rose, or nothing tells them any more.
    """
    started = time.monotonic()
    kubectl = request.target.kubectl
    autoscaler = next((o for k in AUTOSCALERS if (o := proposal.delta.find(k, f"{proposal.live.name}-hpa"))), None)
    service = proposal.service
    if service is None or autoscaler is None:
        return run.carry_out(request, proposal, progress)
    now, to = proposal.live.replicas, proposal.target
    way = _Way(request, proposal, service, autoscaler, wait or wait_seconds(proposal), limits or Limits())
    if to != now:
        way.begin(now, progress)
    if to > now:
        deltas.apply(kubectl, proposal.delta.without(*AUTOSCALERS), progress)
    walk = Walk(now)
    try:
        walk.to(to, lambda at, pods: way.go(at, pods, progress))
    except BaseException:
        _hold(request, proposal, walk.reached, "stopped on the way", progress)
        raise
    if walk.reason:
        _hold(request, proposal, walk.reached, walk.reason, progress)
        raise EnvironmentFailure(
            f"stopped, {proposal.ask.service} is held at {walk.reached} pods: {walk.reason}",
            fix=f"look why (headroom doctor), then the same command again; back to the plan: headroom scale "
            f"{proposal.ask.service} --restore",
        )
    done = run.carry_out(request, proposal, progress)
    return Outcome(done.ready, time.monotonic() - started)


@dataclass
class Silence:
    """Who has not told how it does, for how many looks in a row; `reason` once these are too many.

    Where nothing ever told it (an image without such metrics), nobody is silent.
    """

    spoke: bool = False
    looks: dict[str, int] = field(default_factory=dict)
    reason: str = ""

    def after(self, look: Look | None, why: str = "") -> None:
        """Count one more look; None where nothing could be asked, and `why`."""
        words = {pod: f"pod {pod} gives no answer ({said})" for pod, said in (look.silent if look else {}).items()}
        self.spoke = self.spoke or bool(look and look.counters)
        if look is None or (self.spoke and not look.counters and not words):
            cause = f" ({' '.join(why.split())[:200]})" if why else ""
            words[""] = f"nothing tells its errors and p99 any more{cause}"
        self.looks = {who: self.looks.get(who, 0) + 1 for who in words}
        self.reason = next((words[who] for who, looks in self.looks.items() if looks >= LOOKS), "")


@dataclass
class _Way:
    request: Request
    proposal: Proposal
    service: ServicePlan
    autoscaler: RenderedObject
    wait: float
    limits: Limits

    def __post_init__(self) -> None:
        self.watcher = Watcher.of(self.kubectl, self.service)
        self.known = Reading(0, 0)
        self.last: dict[str, Counters] = {}
        self.silence = Silence()

    @property
    def kubectl(self) -> Kubectl:
        return self.request.target.kubectl

    def begin(self, now: int, progress: Progress) -> None:
        """Learn how the service does before. Raises EnvironmentFailure where pods hang already."""
        progress.note(self.watcher.told())
        with step(progress, f"looking how {self.service.key} does before"):
            self._look()
            while self.silence.looks and not self.silence.reason:
                time.sleep(LOOK_SECONDS)
                self._look()
            if not self.silence.reason:
                self.known = self._watch(BASELINE_SECONDS, progress)
            if self.silence.reason:
                raise EnvironmentFailure(
                    f"{self.service.key} cannot be watched, nothing was changed: {self.silence.reason}",
                    fix=f"headroom doctor {self.service.key} --stack {self.request.stack} says why; without --gradual "
                    "nothing is watched",
                )
        progress.note(f"{now} pods: {self.known}")

    def go(self, now: int, pods: int, progress: Progress) -> str:
        """One step; why it must not go on, or nothing. After a bad step down the pods come back."""
        with step(progress, f"{now} → {pods} pods, then {self.wait:.0f} s", f"{pods} pods"):
            self._set(pods)
            deltas.ready(self.kubectl, [self.proposal.live.deployment], progress)
            seen = self._watch(self.wait, progress)
        progress.note(f"{pods} pods: {seen}")
        reason = broken(self.watcher.pods("stable")) or worse(self.known, seen, self.limits) or self.silence.reason
        if reason and pods < now:
            with step(progress, f"{reason}: back to {now} pods"):
                self._set(now)
                deltas.ready(self.kubectl, [self.proposal.live.deployment], progress)
        return reason

    def _set(self, pods: int) -> None:
        deltas.put(self.kubectl, self.request.stack, [live_service.bounded(self.autoscaler, pods, pods)])
        live_service.set_replicas(self.kubectl, self.proposal.live, pods)

    def _watch(self, seconds: float, progress: Progress) -> Reading:
        """What all pods do meanwhile, since the last look before. Pods that go in between are counted as long as they
        answer. While some are silent it goes on, until they speak or have been silent for too long."""
        first = dict(self.last)
        end = time.monotonic() + seconds
        late = 0
        while True:
            left = end - time.monotonic()
            time.sleep(LOOK_SECONDS if self.silence.looks else max(0.0, min(left, LOOK_SECONDS)))
            self._look()
            seen = between(first, self.last, self.last)
            left = end - time.monotonic()
            late += left <= 0
            if self.silence.reason or (late and not self.silence.looks) or late > LOOKS:
                return seen
            progress.detail(f"{max(0.0, left):.0f} s to go; {seen}")

    def _look(self) -> None:
        try:
            heard = self.watcher.heard()
        except EnvironmentFailure as error:
            self.silence.after(None, error.message)
        else:
            self.last |= heard.counters
            self.silence.after(heard)


def _hold(request: Request, proposal: Proposal, reached: int, why: str, progress: Progress) -> None:
    """Bounds and stack file say what is: the count that was reached."""
    because = proposal.ask.because or "going back to the plan"
    ask = run.at(proposal, f"{because} (held at {reached}: {why})"[:480], reached)
    run.carry_out(request, run.propose(request, ask, progress), progress)
