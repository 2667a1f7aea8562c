"""Requests of the services: from the cluster's Prometheus, else counted by asking the pods twice."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from headroom.capacity.demand import StackDemand
from headroom.capacity.plan.model import ServicePlan
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops import prometheus
from headroom.ops.doctor.ask import Asked, Questions
from headroom.ops.doctor.snapshot import PodTraffic, Traffic, Unseen
from headroom.ops.signals import METRICS, UNCOUNTED, Counters, Reading, Watcher

WINDOW_SECONDS = 120
"""Over which Prometheus is asked."""
BETWEEN_SECONDS = 5.0
"""Between the two looks at the pods, where there is no Prometheus."""
FEWEST = 100
"""Requests, below which a 99th percentile says nothing alone."""
SLOW = 5
"""Requests over the promise that prove it broken among fewer: where 1 in 100 may be, 5 of 99 are chance in 1 of 300."""


@dataclass(frozen=True)
class Promise:
    """What a stack file says of a service's load: p99 in seconds and requests a second, None where it says nothing."""

    p99: float | None = None
    target: float | None = None


def promises(demand: StackDemand) -> dict[str, Promise]:
    """What the stack file promises and expects, by service."""
    found = {}
    for key, service in demand.services.items():
        load = service.demand
        p99 = float(load.latency.p99) if load and load.latency else None
        found[key] = Promise(p99, float(load.target_rps) if load and load.target_rps is not None else None)
    return found


Look = tuple[float, dict[str, Counters]]


@dataclass
class Flows:
    """Measurements under way."""

    kubectl: Kubectl
    questions: Questions
    promised: Mapping[str, Promise]
    measured: dict[str, Traffic] = field(default_factory=dict)
    watched: dict[str, tuple[ServicePlan, Asked[Look]]] = field(default_factory=dict)

    def end(self) -> dict[str, Traffic]:
        """Look at the pods again, and reckon."""
        first = {key: asked.value((0.0, {})) for key, (_, asked) in self.watched.items()}
        first = {key: look for key, look in first.items() if look[1]}
        if first:
            began = max(at for at, _ in first.values())
            time.sleep(max(0.0, BETWEEN_SECONDS - (time.monotonic() - began)))
        again = {key: _look(self.kubectl, self.questions, self.watched[key][0]) for key in first}
        for key, asked in again.items():
            second = asked.value((0.0, {}))
            if second[1]:
                self.measured[key] = between(key, first[key], second, self.promised.get(key, Promise()))
        return self.measured


def begin(
    kubectl: Kubectl, questions: Questions, services: Sequence[ServicePlan], promised: Mapping[str, Promise]
) -> Flows:
    """Begin to measure the services whose program counts its requests."""
    flows = Flows(kubectl, questions, promised)
    found = _prometheus(kubectl)
    for service in services:
        if service.preset not in METRICS or service.profile == "current":
            questions.unseen.append(Unseen(f"requests of {service.key}", f"{service.preset} does not count them"))
            continue
        told = _recorded(kubectl, found, service, promised.get(service.key, Promise())) if found else None
        if told is not None:
            flows.measured[service.key] = told
        else:
            flows.watched[service.key] = (service, _look(kubectl, questions, service))
    return flows


def between(key: str, first: Look, second: Look, promise: Promise) -> Traffic:
    """What the pods did between two looks. A counter that went back began anew with its process; a pod that was not
    there before is left out."""
    seconds = max(second[0] - first[0], 0.001)
    pods: list[PodTraffic] = []
    buckets: dict[float, float] = {}
    for pod, now in second[1].items():
        was = first[1].get(pod)
        if was is None:
            continue
        was = Counters() if now.requests < was.requests else was
        pods.append(
            PodTraffic(pod, (now.requests - was.requests) / seconds, max(0.0, now.errors - was.errors) / seconds)
        )
        for bound, count in now.buckets.items():
            buckets[bound] = buckets.get(bound, 0.0) + count - was.buckets.get(bound, 0.0)
    return Traffic(key, seconds, tuple(pods), p99_seconds(buckets, promise.p99), promise.p99, promise.target)


def p99_seconds(buckets: Mapping[float, float], promised: float | None = None) -> float | None:
    """The 99th percentile of a cumulative histogram; None under FEWEST requests, unless SLOW of them are over what is
    promised."""
    total = max(buckets.values(), default=0.0)
    within = min((count for bound, count in buckets.items() if promised and bound >= promised), default=total)
    p99 = Reading(total, 0, buckets).p99_ms
    return None if p99 is None or (total < FEWEST and total - within < SLOW) else p99 / 1000


def _look(kubectl: Kubectl, questions: Questions, service: ServicePlan) -> Asked[Look]:
    def look() -> Look:
        began, heard = time.monotonic(), Watcher(kubectl, service).heard()
        for pod, words in heard.silent.items():
            questions.refuse(service.key, f"pod {pod}", words)
        return began, heard.counters

    return questions.ask(service.key, f"requests of {service.key}", look)


def _prometheus(kubectl: Kubectl) -> prometheus.Prometheus | None:
    try:
        return prometheus.find(kubectl)
    except EnvironmentFailure:
        return None


def _recorded(kubectl: Kubectl, found: prometheus.Prometheus, service: ServicePlan, promise: Promise) -> Traffic | None:
    """None where Prometheus has no such series, or does not answer: then the pods are asked."""
    requests, duration = METRICS[service.preset]
    paths = "|".join(f"{path}.*" for path in UNCOUNTED)
    chosen = f'namespace="{service.namespace}",pod=~"{service.key}-.+",path!~"{paths}"'
    window = f"[{WINDOW_SECONDS}s]"
    failing = f'{chosen},status=~"5.*"'
    try:
        every = prometheus.ask(kubectl, found, f"sum by (pod) (rate({requests}{{{chosen}}}{window}))")
        if not every:
            return None
        failed = prometheus.ask(kubectl, found, f"sum by (pod) (rate({requests}{{{failing}}}{window}))")
        bounds = prometheus.ask(kubectl, found, f"sum by (le) (increase({duration}_bucket{{{chosen}}}{window}))")
    except EnvironmentFailure:
        return None
    errors = {s.labels.get("pod"): s.value for s in failed}
    pods = tuple(PodTraffic(s.labels["pod"], s.value, errors.get(s.labels["pod"], 0.0)) for s in every)
    p99 = p99_seconds({float(s.labels["le"]): s.value for s in bounds}, promise.p99)
    return Traffic(service.key, WINDOW_SECONDS, pods, p99, promise.p99, promise.target)
