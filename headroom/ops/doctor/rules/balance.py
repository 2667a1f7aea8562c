"""Requests that do not spread over the pods: wrong selectors, session affinity, connections that live long."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan, ServicePlan
from headroom.kubectl import Manifest
from headroom.ops.ages import age
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Anchor, Finding, Severity
from headroom.ops.doctor.snapshot import PodTraffic, Snapshot, Traffic

SKEWED = 1.5
"""The busiest pod's requests over the mean of all. Requests spread at random over two pods stay well below it."""
FEWEST = 30
"""Requests a pod, below which a skew may be chance."""
YOUNG_SECONDS = 600
_SETTLED_SECONDS = 30


def selector(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A Service that misses pods of its own, or takes in those of others."""
    for service in plan.services:
        live = _service(seen, service)
        if live is None and not any(objects.place(d) == f"{service.namespace}/{service.key}" for d in seen.deployments):
            continue
        if live is None:
            yield _finding(
                "part-is-not-deployed", plan, service, "has no Service", "it was never deployed, or deleted", error=True
            )
            continue
        wanted = live["spec"].get("selector") or {}
        inside = [p for p in objects.living(seen) if objects.namespace(p) == service.namespace]
        chosen = [p for p in inside if wanted and wanted.items() <= (p["metadata"].get("labels") or {}).items()]
        own = [p for p in inside if _owned(p, service)]
        strangers = [objects.name(p) for p in chosen if not _owned(p, service)]
        missed = [objects.name(p) for p in own if p not in chosen]
        said = "selector " + (", ".join(f"{k}={v}" for k, v in sorted(wanted.items())) or "empty")
        if strangers:
            yield _finding(
                "service-selects-the-wrong-pods",
                plan,
                service,
                f"sends requests to pods that are not its own: {objects.listed(strangers)}",
                "these pods carry the labels that its selector asks for, and another workload made them",
                error=True,
                evidence=(said,),
            )
        if missed:
            yield _finding(
                "service-selects-the-wrong-pods",
                plan,
                service,
                f"sends {'none' if len(missed) == len(own) else 'some'} of its pods requests: {objects.listed(missed)} "
                "are not selected",
                "its selector and the labels of the pods differ: one of both was changed by hand",
                error=len(missed) == len(own),
                evidence=(said,),
            )
        elif wanted:
            yield from _endpoints(seen, plan, service, own)


def uneven(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Pods of one service that answer much more than the others."""
    for service in plan.services:
        traffic, live = seen.traffic.get(service.key), _service(seen, service)
        if traffic is None or live is None:
            continue
        # A pod that came within the time that was looked at has answered less because of that alone.
        whole = traffic.seconds + _SETTLED_SECONDS
        own = (p for p in seen.pods if _owned(p, service) and objects.ready(p))
        pods = {objects.name(p): p for p in own if _ready_for(seen, p) >= whole}
        busy = sorted((t for t in traffic.pods if t.pod in pods), key=lambda t: -t.rate)
        total = sum(t.rate for t in busy)
        if len(busy) < 2 or total * traffic.seconds < FEWEST * len(busy):
            continue
        skew = busy[0].rate * len(busy) / total
        if skew < SKEWED:
            continue
        because, fix = _explain(seen, plan, service, live, busy, pods)
        yield Finding(
            anchor="requests-are-uneven",
            severity=Severity.warning,
            component=service.key,
            subject=f"service {service.namespace}/{service.key}",
            symptom=f"its busiest pod answers {skew:.1f} times the mean",
            because=because,
            fix=fix,
            evidence=_shares(traffic, busy),
        )


def _explain(
    seen: Snapshot,
    plan: Plan,
    service: ServicePlan,
    live: Manifest,
    busy: list[PodTraffic],
    pods: dict[str, Manifest],
) -> tuple[str, str]:
    if live["spec"].get("sessionAffinity") == "ClientIP":
        return (
            "the Service has sessionAffinity ClientIP: all requests from one address go to one pod, and a proxy or a "
            "load balancer in front is one address",
            f"headroom up --stack {plan.stack} (the plan's Service has no affinity)",
        )
    least = busy[-1].pod
    young = _ready_for(seen, pods[least])
    spread = f"kubectl rollout restart deployment/{service.key} -n {service.namespace} spreads them anew, once"
    for_good = "for good: let clients close a connection after some minutes or requests (a maximum age), or balance "
    for_good += "requests instead of connections (a proxy or mesh; round_robin in gRPC clients)"
    why = "a Service shares out connections, not requests: connections that live long (keep-alive, HTTP/2, gRPC, "
    why += "pools) stay at the pod that they were opened to"
    if young < YOUNG_SECONDS:
        why += f"; {least} has been ready for {young:.0f} s, and only new connections reach it"
    return why, f"{spread}; {for_good}"


def _shares(traffic: Traffic, busy: list[PodTraffic]) -> tuple[str, ...]:
    lines = [f"{t.pod}: {t.rate:.1f} requests/s" for t in (busy if len(busy) <= 6 else [*busy[:3], *busy[-3:]])]
    return (*lines, f"over the last {traffic.seconds:.0f} s")


def _endpoints(seen: Snapshot, plan: Plan, service: ServicePlan, own: list[Manifest]) -> Iterator[Finding]:
    name = "kubernetes.io/service-name"
    slices = [
        s
        for s in seen.endpoint_slices
        if objects.namespace(s) == service.namespace and (s["metadata"].get("labels") or {}).get(name) == service.key
    ]
    served = {
        (e.get("targetRef") or {}).get("name")
        for s in slices
        for e in s.get("endpoints") or []
        if (e.get("conditions") or {}).get("ready")
    }
    left = [
        objects.name(p)
        for p in own
        if objects.ready(p) and objects.name(p) not in served and _ready_for(seen, p) > _SETTLED_SECONDS
    ]
    if left:
        yield _finding(
            "service-selects-the-wrong-pods",
            plan,
            service,
            f"leaves out pods that are ready: {objects.listed(left)}",
            "the control plane has not written them into its EndpointSlices: its controller does not run or lags",
            error=True,
            evidence=(f"{len(served)} endpoints are ready",),
        )


def _ready_for(seen: Snapshot, pod: Manifest) -> float:
    return age(seen.at, (objects.condition(pod, "Ready") or {}).get("lastTransitionTime"))


def _service(seen: Snapshot, service: ServicePlan) -> Manifest | None:
    return next((s for s in seen.services if objects.place(s) == f"{service.namespace}/{service.key}"), None)


def _owned(pod: Manifest, service: ServicePlan) -> bool:
    """Made by the service's Deployment or its canary's: by the name of the ReplicaSet, whatever its labels say."""
    owners = pod["metadata"].get("ownerReferences") or []
    made = {str(o["name"]).rpartition("-")[0] for o in owners if o.get("kind") == "ReplicaSet"}
    return objects.namespace(pod) == service.namespace and bool(made & {service.key, f"{service.key}-canary"})


def _finding(
    anchor: Anchor,
    plan: Plan,
    service: ServicePlan,
    symptom: str,
    because: str,
    *,
    error: bool,
    evidence: tuple[str, ...] = (),
) -> Finding:
    return Finding(
        anchor=anchor,
        severity=Severity.error if error else Severity.warning,
        component=service.key,
        subject=f"service {service.namespace}/{service.key}",
        symptom=symptom,
        because=because,
        fix=f"headroom up --stack {plan.stack}; then: kubectl get endpointslices -n {service.namespace} "
        f"-l kubernetes.io/service-name={service.key}",
        evidence=evidence,
    )
