"""Requests of the services: from the cluster's Prometheus, else counted by asking the pods twice."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from prometheus_client.parser import text_string_to_metric_families

from headroom.capacity.demand import StackDemand
from headroom.capacity.plan.model import ServicePlan
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl, Manifest
from headroom.ops import inside, prometheus
from headroom.ops.doctor import objects
from headroom.ops.doctor.ask import Asked, Questions
from headroom.ops.doctor.snapshot import PodTraffic, Snapshot, Traffic, Unseen

WINDOW_SECONDS = 120
"""Over which Prometheus is asked."""
BETWEEN_SECONDS = 5.0
"""Between the two looks at the pods, where there is no Prometheus."""
FEWEST = 100
"""Requests, below which a 99th percentile says nothing."""
# What probes and scrapes ask for.
_NOT_WORK = ("/health", "/metrics", "/livez", "/readyz", "/startupz", "/api/status")
_PODS = 50


@dataclass(frozen=True)
class Promise:
    """What a stack file says of a service's load: p99 in seconds and requests a second, None where it says nothing."""

    p99: float | None
    target: float | None


@dataclass(frozen=True)
class Series:
    """The names of a program's request counter and latency histogram."""

    requests: str
    duration: str


SERIES: Mapping[tuple[str, str], Series] = {
    ("fastapi", "legacy"): Series("http_requests_total", "http_request_duration_seconds"),
    ("inferadb", "legacy"): Series("inferadb_requests_total", "inferadb_request_duration_seconds"),
}


def promises(demand: StackDemand) -> dict[str, Promise]:
    """What the stack file promises and expects, by service."""
    found = {}
    for key, service in demand.services.items():
        load = service.demand
        p99 = float(load.latency.p99) if load and load.latency else None
        found[key] = Promise(p99, float(load.target_rps) if load and load.target_rps is not None else None)
    return found


@dataclass(frozen=True)
class Count:
    """A pod's counters at one moment: requests, 5xx, and its latency histogram (upper bound in seconds to count)."""

    at: float
    requests: float
    errors: float
    buckets: Mapping[float, float]


@dataclass
class Flows:
    """Measurements under way."""

    questions: Questions
    kubectl: Kubectl
    begun: float = 0.0
    measured: dict[str, Traffic] = field(default_factory=dict)
    scraped: dict[str, tuple[Series, dict[str, Asked[Count | None]], dict[str, str], Promise]] = field(
        default_factory=dict
    )

    def end(self) -> dict[str, Traffic]:
        """Look at the pods again, and reckon."""
        first = {
            key: {pod: c for pod, asked in pods.items() if (c := asked.value(None)) is not None}
            for key, (_, pods, _, _) in self.scraped.items()
        }
        if any(first.values()):
            time.sleep(max(0.0, BETWEEN_SECONDS - (time.monotonic() - self.begun)))
        for key, (series, _, paths, promise) in self.scraped.items():
            again = {pod: _look(self.questions, self.kubectl, key, pod, paths[pod], series) for pod in first[key]}
            second = {pod: c for pod, asked in again.items() if (c := asked.value(None)) is not None}
            if second:
                self.measured[key] = between(key, first[key], second, promise)
        return self.measured


def begin(
    kubectl: Kubectl,
    questions: Questions,
    seen: Snapshot,
    services: Sequence[ServicePlan],
    promised: Mapping[str, Promise],
) -> Flows:
    """Begin to measure the services whose program counts its requests."""
    flows = Flows(questions, kubectl)
    found = _prometheus(kubectl)
    for service in services:
        series = SERIES.get((service.preset, service.profile))
        promise = promised.get(service.key, Promise(None, None))
        if series is None:
            questions.unseen.append(Unseen(f"requests of {service.key}", f"{service.preset} does not count them"))
            continue
        told = _from_prometheus(kubectl, found, service, series, promise) if found else None
        if told is not None:
            flows.measured[service.key] = told
            continue
        paths = {objects.name(p): path for p in seen.pods if (path := _path(p, service)) is not None}
        asked = {
            pod: _look(questions, kubectl, service.key, pod, path, series) for pod, path in list(paths.items())[:_PODS]
        }
        flows.scraped[service.key] = (series, asked, paths, promise)
    flows.begun = time.monotonic()
    return flows


def between(key: str, first: Mapping[str, Count], second: Mapping[str, Count], promise: Promise) -> Traffic:
    """What happened between two looks at the same pods. A counter that went back began anew with its process."""
    pods: list[PodTraffic] = []
    buckets: dict[float, float] = {}
    seconds = 0.0
    for pod, now in second.items():
        then = first[pod]
        took = max(now.at - then.at, 0.001)
        seconds = max(seconds, took)
        reborn = now.requests < then.requests
        requests = now.requests - (0 if reborn else then.requests)
        errors = now.errors - (0 if reborn else then.errors)
        pods.append(PodTraffic(pod, requests / took, max(errors, 0) / took))
        for bound, count in now.buckets.items():
            buckets[bound] = buckets.get(bound, 0.0) + count - (0 if reborn else then.buckets.get(bound, 0.0))
    return Traffic(key, seconds, tuple(pods), quantile(buckets), promise.p99, promise.target)


def quantile(buckets: Mapping[float, float], share: float = 0.99) -> float | None:
    """A quantile of a cumulative histogram, straight lines between its bounds, as Prometheus has it.

    None under FEWEST requests. Above the last finite bound it is that bound.
    """
    bounds = sorted(buckets)
    total = buckets[bounds[-1]] if bounds else 0.0
    if total < FEWEST:
        return None
    rank = share * total
    steps = pairwise([0.0, *bounds])
    below = 0.0
    for low, high in steps:
        count = buckets[high]
        if count >= rank:
            return low if high == float("inf") else low + (high - low) * (rank - below) / max(count - below, 1e-9)
        below = count
    return bounds[-1]


def count(text: str, series: Series, at: float) -> Count:
    """A pod's counters in Prometheus' text format. Raises ValueError for another."""
    requests = errors = 0.0
    buckets: dict[float, float] = {}
    names = {series.requests, series.requests.removesuffix("_total"), series.duration}
    for family in text_string_to_metric_families(text):
        if family.name not in names:
            continue
        for sample in family.samples:
            if _path_of(sample.labels).startswith(_NOT_WORK):
                continue
            if sample.name == series.requests:
                requests += sample.value
                errors += sample.value if _status_of(sample.labels).startswith("5") else 0.0
            elif sample.name == f"{series.duration}_bucket":
                bound = float(sample.labels["le"])
                buckets[bound] = buckets.get(bound, 0.0) + sample.value
    return Count(at, requests, errors, buckets)


def _look(
    questions: Questions, kubectl: Kubectl, component: str, pod: str, path: str, series: Series
) -> Asked[Count | None]:
    return questions.ask(component, f"pod {pod}", _counted, kubectl, path, series)


def _counted(kubectl: Kubectl, path: str, series: Series) -> Count | None:
    return count(inside.get(kubectl, path), series, time.monotonic())


def _path(pod: Manifest, service: ServicePlan) -> str | None:
    """Where a pod's metrics are, through the API server; None for a pod of others, or one that shows none."""
    notes = pod["metadata"].get("annotations") or {}
    own = objects.component(pod) == service.key and objects.namespace(pod) == service.namespace
    if not own or not inside.running(pod) or notes.get("prometheus.io/scrape") != "true" or not objects.ready(pod):
        return None
    port, path = notes.get("prometheus.io/port", "8080"), notes.get("prometheus.io/path", "/metrics")
    return f"/api/v1/namespaces/{service.namespace}/pods/{objects.name(pod)}:{port}/proxy{path}"


def _prometheus(kubectl: Kubectl) -> prometheus.Prometheus | None:
    try:
        return prometheus.find(kubectl)
    except EnvironmentFailure:
        return None


def _from_prometheus(
    kubectl: Kubectl, found: prometheus.Prometheus, service: ServicePlan, series: Series, promise: Promise
) -> Traffic | None:
    """None where it has no such series, or does not answer: then the pods are asked."""
    work = "|".join(f"{path}.*" for path in _NOT_WORK)
    chosen = f'namespace="{service.namespace}",pod=~"{service.key}-.+",path!~"{work}"'
    window = f"[{WINDOW_SECONDS}s]"
    try:
        every = prometheus.ask(kubectl, found, f"sum by (pod) (rate({series.requests}{{{chosen}}}{window}))")
        if not every:
            return None
        failed = prometheus.ask(
            kubectl, found, f'sum by (pod) (rate({series.requests}{{{chosen},status=~"5.*"}}{window}))'
        )
        buckets = prometheus.ask(
            kubectl, found, f"sum by (le) (increase({series.duration}_bucket{{{chosen}}}{window}))"
        )
    except EnvironmentFailure:
        return None
    errors = {s.labels.get("pod"): s.value for s in failed}
    pods = tuple(PodTraffic(s.labels["pod"], s.value, errors.get(s.labels["pod"], 0.0)) for s in every)
    p99 = quantile({float(s.labels["le"]): s.value for s in buckets})
    return Traffic(service.key, WINDOW_SECONDS, pods, p99, promise.p99, promise.target)


def _path_of(labels: Mapping[str, str]) -> str:
    return labels.get("path") or labels.get("handler") or labels.get("endpoint") or ""


def _status_of(labels: Mapping[str, str]) -> str:
    return labels.get("status") or labels.get("code") or labels.get("status_code") or ""
