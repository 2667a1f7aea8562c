"""Stateless services: the promised latency, errors, the demand, the queue, and the stores behind."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.demand import StackDemand
from headroom.capacity.demand.services import ServiceDemand
from headroom.capacity.plan.model import Plan, ServicePlan
from monitoring.model import Alert, Group, pods, quoted, running, series

ERROR_SHARE = 0.01
QUEUE_SHARE = 0.8
STORE_ERROR_SHARE = 0.05
COUNTERS = {
    ("fastapi", "legacy"): ("http_requests_total", "http_request_duration_seconds_bucket"),
    ("inferadb", "legacy"): ("inferadb_requests_total", "inferadb_request_duration_seconds_bucket"),
}
"""The request counter and the latency histogram of each program that has a `/metrics` page."""


def pattern(service: ServicePlan) -> str:
    """The pods of a service and of its canary, and of no other service whose name begins the same."""
    return f"{service.key}(-canary)?-[a-z0-9]+-[a-z0-9]+"


def group(asked: StackDemand, plan: Plan) -> Group:
    found: list[Alert] = []
    for service in plan.services:
        if not service.maintenance:
            found += _of(service, asked.services[service.key])
    return Group("services", tuple(found))


def _of(service: ServicePlan, asked: ServiceDemand) -> Iterator[Alert]:
    counters = COUNTERS.get((service.preset, service.profile))
    if counters is None:
        return
    labels = (("service", service.key),)
    matching = pods(pattern(service))
    work = matching + (',path=~"/predict.*"' if service.preset == "fastapi" else "")
    requests = f"rate({series(counters[0], work, namespace=service.namespace)}[5m])"
    yield Alert(
        "ServicePodsMissing",
        f"{running(service.namespace, pattern(service))} < {service.min_replicas.value}",
        5,
        "critical",
        f"{service.key} has fewer pods than its minimum",
        f"Prometheus reaches {{{{ $value }}}} pods; the plan's minimum is {service.min_replicas.value} "
        f"({quoted(service.min_replicas.because)}).",
        labels,
    )
    if asked.demand is not None and asked.demand.latency is not None:
        promised = f"{float(asked.demand.latency.p99):g}"
        buckets = f"sum by (le) (rate({series(counters[1], work, namespace=service.namespace)}[5m]))"
        yield Alert(
            "ServiceLatencyOverPromise",
            f"histogram_quantile(0.99, {buckets}) > {promised}",
            5,
            "critical",
            f"{service.key} is slower than promised",
            f"The p99 is {{{{ $value | humanizeDuration }}}}; {promised} s are promised.",
            labels,
        )
    if asked.demand is not None and asked.demand.target_rps is not None:
        target = f"{float(asked.demand.target_rps):g}"
        yield Alert(
            "ServiceOverDemand",
            f"sum({requests}) > {target}",
            10,
            "warning",
            f"{service.key} gets more requests than it was sized for",
            f"{{{{ $value | humanize }}}} requests a second arrive; the stack file says targetRps {target}.",
            labels,
        )
    if service.preset == "fastapi":
        yield from _inference(service, requests, work, labels)


def _inference(service: ServicePlan, requests: str, work: str, labels: tuple[tuple[str, str], ...]) -> Iterator[Alert]:
    where, matching = service.namespace, pods(pattern(service))
    failures = work + ',status=~"5.."'
    failed = f"rate({series('http_requests_total', failures, namespace=where)}[5m])"
    yield Alert(
        "ServiceErrors",
        f"sum({failed}) / sum({requests}) > {ERROR_SHARE}",
        5,
        "critical",
        f"{service.key} answers with errors",
        "{{ $value | humanizePercentage }} of the answers are 5xx.",
        labels,
    )
    depth, limit = (f"sum({series(name, matching, namespace=where)})" for name in _QUEUE)
    yield Alert(
        "ServiceQueueFull",
        f"{depth} / {limit} > {QUEUE_SHARE}",
        2,
        "critical",
        f"{service.key} is about to refuse requests",
        "The queues of its pods are {{ $value | humanizePercentage }} full; full ones answer 503.",
        labels,
    )
    if service.worker_threads is not None:
        threads = service.worker_threads.value
        yield Alert(
            "ServiceThreadsBusy",
            f"avg(avg_over_time({series('model_threads_busy', matching, namespace=where)}[5m])) > {0.9 * threads:g}",
            10,
            "warning",
            f"the threads of {service.key} are all busy",
            f"{{{{ $value | humanize }}}} of {threads} threads a pod run the model, on average.",
            labels,
        )
    if service.connections_per_pod.value:
        loads = series("feature_loads_total", matching, namespace=where)
        lost = series("feature_loads_total", matching, namespace=where, outcome="failed")
        yield Alert(
            "FeatureStoreFailing",
            f"sum(rate({lost}[5m])) / sum(rate({loads}[5m])) > {STORE_ERROR_SHARE}",
            5,
            "critical",
            f"{service.key} cannot read features",
            "{{ $value | humanizePercentage }} of its reads from PostgreSQL fail; what is cached is still answered.",
            labels,
        )
        reads = series("feature_cache_requests_total", matching, namespace=where)
        broken = series("feature_cache_requests_total", matching, namespace=where, result="error")
        yield Alert(
            "FeatureCacheFailing",
            f"sum(rate({broken}[5m])) / sum(rate({reads}[5m])) > {STORE_ERROR_SHARE}",
            5,
            "warning",
            f"{service.key} cannot use its cache",
            "{{ $value | humanizePercentage }} of its cache reads fail; every one becomes a read from PostgreSQL.",
            labels,
        )


_QUEUE = ("request_queue_depth", "request_queue_limit")
