"""How a service's pods do by their own counters: requests, errors and latency between two looks, and which is worse.

The counters come from Prometheus where the cluster has one that knows the pods, else from the pods themselves, through
the API server's proxy. Programs without such metrics are judged by the state of their pods alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from prometheus_client.parser import text_string_to_metric_families

from headroom.capacity.plan.model import ServicePlan
from headroom.engine import diagnose
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl, Manifest
from headroom.ops import prometheus

METRICS = {
    "fastapi": ("http_requests_total", "http_request_duration_seconds"),
    "inferadb": ("inferadb_requests_total", "inferadb_request_duration_seconds"),
}
"""The counter of requests and the histogram of their seconds, by preset; not of InferaDB's profile `current`."""
STATUS_LABELS = ("status", "code", "status_code")
UNCOUNTED = ("/health", "/metrics", "/ready", "/live")
"""Paths that no client waits for."""
TRACK = "headroom.dev/track"


@dataclass(frozen=True)
class Counters:
    """What one pod has counted since it started; `buckets` are cumulative, by their upper bound in seconds."""

    requests: float = 0
    errors: float = 0
    buckets: Mapping[float, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Reading:
    """What pods did between two looks."""

    requests: float
    errors: float
    buckets: Mapping[float, float] = field(default_factory=dict)

    @property
    def error_rate(self) -> float:
        """Errors a request; 0 without requests."""
        return self.errors / self.requests if self.requests else 0.0

    @property
    def p99_ms(self) -> float | None:
        """The 99th percentile in ms, interpolated inside its bucket as Prometheus does; None without requests.

        In the last bucket, which has no end, it is that bucket's beginning.
        """
        bounds = sorted(self.buckets)
        total = self.buckets[bounds[-1]] if bounds else 0
        if total <= 0:
            return None
        rank, below, counted = 0.99 * total, 0.0, 0.0
        for bound in bounds:
            inside = self.buckets[bound]
            if inside >= rank:
                if bound == float("inf"):
                    return 1000 * below
                return 1000 * (below + (bound - below) * (rank - counted) / (inside - counted))
            below, counted = bound, inside
        return 1000 * below

    def __str__(self) -> str:
        if not self.requests:
            return "no requests"
        tail = "" if self.p99_ms is None else f", p99 {self.p99_ms:.3g} ms"
        return f"{self.requests:.0f} requests, {100 * self.error_rate:.3g} % errors{tail}"


@dataclass(frozen=True)
class Limits:
    """From when on a difference counts as worse. An error rate must be above `error_factor` times the other and
    `error_points` above it; a p99 above `p99_factor` times the other and `p99_ms` above it."""

    least_requests: int = 50
    least_errors: int = 3
    error_factor: float = 2.0
    error_points: float = 0.01
    p99_factor: float = 1.5
    p99_ms: float = 20.0


def worse(known: Reading, seen: Reading, limits: Limits | None = None) -> str:
    """Why `seen` is worse than `known`; empty while it is not, or while too little was seen to say so."""
    limits = limits or Limits()
    rate, usual = seen.error_rate, known.error_rate
    if seen.errors >= limits.least_errors and rate > max(limits.error_factor * usual, usual + limits.error_points):
        return f"error rate {100 * rate:.3g} % against {100 * usual:.3g} %"
    if seen.requests < limits.least_requests or known.requests < limits.least_requests:
        return ""
    tail, before = seen.p99_ms, known.p99_ms
    if tail is None or before is None or tail <= max(limits.p99_factor * before, before + limits.p99_ms):
        return ""
    return f"p99 {tail:.3g} ms against {before:.3g} ms"


def between(before: Mapping[str, Counters], after: Mapping[str, Counters], pods: Iterable[str]) -> Reading:
    """What some pods did between two looks. A counter that went back began anew with its process."""
    requests = errors = 0.0
    buckets: dict[float, float] = {}
    for pod in pods:
        now = after.get(pod)
        if now is None:
            continue
        was = before.get(pod, Counters())
        if now.requests < was.requests:
            was = Counters()
        requests += now.requests - was.requests
        errors += max(0.0, now.errors - was.errors)
        for bound, count in now.buckets.items():
            buckets[bound] = buckets.get(bound, 0.0) + count - was.buckets.get(bound, 0.0)
    return Reading(requests, errors, buckets)


def counted(samples: Iterable[tuple[str, Mapping[str, str], float]], counter: str, histogram: str) -> Counters:
    """The counters in one pod's samples `(name, labels, value)`, without probes and scrapes."""
    requests = errors = 0.0
    buckets: dict[float, float] = {}
    for name, labels, value in samples:
        if labels.get("path", "").startswith(UNCOUNTED):
            continue
        if name == counter:
            requests += value
            if next((labels[k] for k in STATUS_LABELS if k in labels), "").startswith("5"):
                errors += value
        elif name == f"{histogram}_bucket" and "le" in labels:
            bound = float(labels["le"])
            buckets[bound] = buckets.get(bound, 0.0) + value
    return Counters(requests, errors, buckets)


@dataclass(frozen=True)
class Look:
    """What pods have counted, by their names; and why those that hang gave no answer in their time."""

    counters: dict[str, Counters]
    silent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Watcher:
    """Looks at the pods of one service."""

    kubectl: Kubectl
    service: ServicePlan
    source: prometheus.Prometheus | None = None

    @classmethod
    def of(cls, kubectl: Kubectl, service: ServicePlan) -> Watcher:
        """With the cluster's Prometheus where it has one that knows this service's pods, else asking the pods."""
        try:
            found = prometheus.find(kubectl)
            known = cls(kubectl, service, found).look()
        except EnvironmentFailure:
            return cls(kubectl, service)
        return cls(kubectl, service, found) if known else cls(kubectl, service)

    def pods(self, track: str | None = None) -> Sequence[Manifest]:
        """The service's pods that are not on their way out; of one track, or all."""
        selector = f"app.kubernetes.io/name={self.service.key}" + (f",{TRACK}={track}" if track else "")
        items = self.kubectl.items("pods", self.service.namespace, selector)
        return [p for p in items if "deletionTimestamp" not in p["metadata"]]

    def told(self) -> str:
        """Where the counters come from, in words; also when there are none."""
        if not self._counted:
            return f"preset {self.service.preset} counts no requests: only the state of its pods is watched"
        if self.source is not None:
            return f"errors and p99 are those that Prometheus has ({self.source.namespace}/{self.source.service})"
        if self.look():
            return "no Prometheus knows these pods: errors and p99 are read from the pods themselves"
        return "neither Prometheus nor the pods tell their errors and p99: only the state of the pods is watched"

    @property
    def _counted(self) -> bool:
        return self.service.preset in METRICS and self.service.profile != "current"

    def look(self) -> dict[str, Counters]:
        """The counters of every pod that answers, by its name; none for a program without such metrics."""
        return self.heard().counters

    def heard(self) -> Look:
        """As `look`, with the ready pods that gave no answer; Prometheus knows of none."""
        if not self._counted:
            return Look({})
        return Look(self._asked()) if self.source is not None else self._scraped()

    def _asked(self) -> dict[str, Counters]:
        if self.source is None:
            return {}
        counter, histogram = METRICS[self.service.preset]
        where = f'{{namespace="{self.service.namespace}",pod=~"{self.service.key}-(canary-)?[a-z0-9]+-[a-z0-9]+"}}'
        by_pod: dict[str, list[tuple[str, Mapping[str, str], float]]] = {}
        for name in (counter, f"{histogram}_bucket"):
            for sample in prometheus.ask(self.kubectl, self.source, name + where):
                by_pod.setdefault(sample.labels.get("pod", ""), []).append((name, sample.labels, sample.value))
        return {pod: counted(samples, counter, histogram) for pod, samples in by_pod.items()}

    def _scraped(self) -> Look:
        names = [p["metadata"]["name"] for p in self.pods() if ready(p)]
        with ThreadPoolExecutor(4) as pool:
            found = dict(zip(names, pool.map(self._scrape, names), strict=True))
        return Look(
            {pod: told for pod, told in found.items() if isinstance(told, Counters)},
            {pod: told for pod, told in found.items() if isinstance(told, str)},
        )

    def _scrape(self, pod: str) -> Counters | str | None:
        """Its counters, None where it has none to tell, or why there was no answer."""
        counter, histogram = METRICS[self.service.preset]
        try:
            done = self.kubectl.raw(f"/api/v1/namespaces/{self.service.namespace}/pods/{pod}:8080/proxy/metrics")
        except EnvironmentFailure as error:
            return f"its metrics: {error.message}"
        if done.returncode != 0:
            return None
        try:
            families = list(text_string_to_metric_families(done.stdout))
        except ValueError:
            return None
        return counted(((s.name, s.labels, s.value) for f in families for s in f.samples), counter, histogram)


def ready(pod: Manifest) -> bool:
    """Whether a pod takes requests."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


BROKEN = ("CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName")
BROKEN_CONFIG = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError")
RESTARTS = 2


def broken(pods: Sequence[Manifest]) -> str:
    """Why pods will not get well by waiting (an image that is not there, a program that ends again and again); else
    empty."""
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses", []):
            reason = container.get("state", {}).get("waiting", {}).get("reason", "")
            if reason in (*BROKEN, *BROKEN_CONFIG) or container.get("restartCount", 0) >= RESTARTS:
                said = diagnose.waiting_reason(pod) or f"{container['restartCount']} restarts"
                return f"pod {pod['metadata']['name']}: {said}"
    return ""
