"""Scaling in steps: a wait after each, errors and latency watched, and an end by itself when they rise."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

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
from headroom.ops.signals import Counters, Limits, Reading, Watcher, between, broken, worse
from headroom.progress import Progress, step

BASELINE_SECONDS = 15.0
UP_SECONDS = 30.0
LOOK_SECONDS = 5.0


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

    Raises EnvironmentFailure when errors or latency rose.
    """
    started = time.monotonic()
    kubectl = request.target.kubectl
    autoscaler = next((o for k in AUTOSCALERS if (o := proposal.delta.find(k, f"{proposal.live.name}-hpa"))), None)
    service = proposal.service
    if service is None or autoscaler is None:
        return run.carry_out(request, proposal, progress)
    now, to = proposal.live.replicas, proposal.target
    if to > now:
        deltas.apply(kubectl, proposal.delta.without(*AUTOSCALERS), progress)
    way = _Way(request, proposal, service, autoscaler, wait or wait_seconds(proposal), limits or Limits())
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
class _Way:
    request: Request
    proposal: Proposal
    service: ServicePlan
    autoscaler: RenderedObject
    wait: float
    limits: Limits

    def __post_init__(self) -> None:
        self.watcher = Watcher.of(self.kubectl, self.service)
        self.known: Reading | None = None

    @property
    def kubectl(self) -> Kubectl:
        return self.request.target.kubectl

    def go(self, now: int, pods: int, progress: Progress) -> str:
        """One step; why it must not go on, or nothing. After a bad step down the pods come back."""
        if self.known is None:
            progress.note(self.watcher.told())
            with step(progress, f"looking how {self.service.key} does before"):
                self.known = self._watch(BASELINE_SECONDS, progress)
            progress.note(f"{now} pods: {self.known}")
        with step(progress, f"{now} → {pods} pods, then {self.wait:.0f} s", f"{pods} pods"):
            before = self.watcher.look()
            self._set(pods)
            deltas.ready(self.kubectl, [self.proposal.live.deployment], progress)
            seen = self._watch(self.wait, progress, before)
        progress.note(f"{pods} pods: {seen}")
        reason = broken(self.watcher.pods("stable")) or worse(self.known, seen, self.limits)
        if reason and pods < now:
            with step(progress, f"{reason}: back to {now} pods"):
                self._set(now)
                deltas.ready(self.kubectl, [self.proposal.live.deployment], progress)
        return reason

    def _set(self, pods: int) -> None:
        deltas.put(self.kubectl, self.request.stack, [live_service.bounded(self.autoscaler, pods, pods)])
        live_service.set_replicas(self.kubectl, self.proposal.live, pods)

    def _watch(self, seconds: float, progress: Progress, before: dict[str, Counters] | None = None) -> Reading:
        """What all pods do meanwhile. Pods that go in between are counted as long as they answer."""
        first = self.watcher.look() if before is None else before
        last = dict(first)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, LOOK_SECONDS))
            last |= self.watcher.look()
            progress.detail(f"{max(0.0, end - time.monotonic()):.0f} s to go; {between(first, last, last)}")
        return between(first, last, last)


def _hold(request: Request, proposal: Proposal, reached: int, why: str, progress: Progress) -> None:
    """Bounds and stack file say what is: the count that was reached."""
    because = proposal.ask.because or "going back to the plan"
    ask = run.at(proposal, f"{because} (held at {reached}: {why})"[:480], reached)
    run.carry_out(request, run.propose(request, ask, progress), progress)
