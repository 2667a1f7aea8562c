"""Autoscalers that do not scale: blind, at their bound, waiting, or not as planned."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan, ServicePlan
from headroom.kubectl import Manifest
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import About, Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

# Kinds of metrics, the API that serves each, and how that API is brought.
_SERVED = {
    "Resource": ("metrics.k8s.io", "install metrics-server (the embedded cluster has it: headroom local up)"),
    "ContainerResource": ("metrics.k8s.io", "install metrics-server (the embedded cluster has it: headroom local up)"),
    "Pods": ("custom.metrics.k8s.io", "install prometheus-adapter, or set autoscaling.metrics to keda or resource"),
    "External": ("external.metrics.k8s.io", "install KEDA (embedded cluster: headroom local up --with monitoring)"),
}


def missing(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A service without its autoscaler."""
    for service in plan.services:
        deployed = any(objects.place(d) == f"{service.namespace}/{service.key}" for d in seen.deployments)
        # KEDA takes its HPA away while it is paused.
        paused = service.maintenance and service.autoscaling.source == "keda"
        if deployed and not paused and find(seen, service) is None:
            yield _about(service).finding(
                "autoscaler-is-missing",
                "has no autoscaler, so its pods stay as many as they are",
                "it was never deployed, or deleted; with KEDA: its operator does not run",
                f"headroom up --stack {plan.stack}",
            )


def blind(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A metrics API that does not answer, a metric that is missing, or an autoscaler that was switched off."""
    for service, hpa in _each(seen, plan):
        lacking = _lacking(seen, hpa)
        for group, words, fix in lacking:
            yield _about(service).finding(
                "no-metrics-api",
                f"is not scaled: nothing serves {group}",
                f"the autoscaler reads its metric from the API {group}, which " + (words or "is not installed"),
                f"{fix}; then: kubectl get apiservices | grep metrics",
                evidence=_conditions(hpa, "ScalingActive"),
            )
        active = objects.condition(hpa, "ScalingActive")
        if lacking or active is None or active["status"] == "True" or "missing request" in active.get("message", ""):
            continue
        yield _inactive(plan, service, hpa, active)
    yield from _fallback(seen, plan)


def requests(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A utilization is a share of the request: without one there is nothing to reckon with."""
    for service, hpa in _each(seen, plan):
        wanted = {m["resource"]["name"] for m in hpa["spec"].get("metrics") or [] if m["type"] == "Resource"}
        without = [
            f"{objects.name(pod)}/{container['name']} has no request of {resource}"
            for pod in objects.living(seen)
            if objects.component(pod) == service.key and objects.namespace(pod) == service.namespace
            for container in pod["spec"]["containers"]
            for resource in sorted(wanted)
            if resource not in ((container.get("resources") or {}).get("requests") or {})
        ]
        if without:
            yield _about(service).finding(
                "no-requests-set",
                "is not scaled: its containers request nothing",
                "a utilization is a share of what is requested, and these containers request none "
                "(a sidecar that was injected counts, too)",
                f"headroom up --stack {plan.stack} (the plan sets requests); for a sidecar, set them in its injector, "
                f"then: kubectl rollout restart deployment/{service.key} -n {service.namespace}",
                evidence=(*without[:5], *_conditions(hpa, "ScalingActive")),
            )


def bound(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """It wants more pods than its maximum."""
    for service, hpa in _each(seen, plan):
        limited = objects.condition(hpa, "ScalingLimited")
        if limited and limited["status"] == "True" and limited.get("reason") == "TooManyReplicas":
            most = hpa["spec"]["maxReplicas"]
            yield _about(service).finding(
                "autoscaler-is-at-its-bound",
                f"has its maximum of {most} pods, and needs more",
                f"the load is above what the plan was made for: {service.max_replicas.because}",
                f'headroom scale {service.key} --to {most + max(1, most // 2)} --because "…" --stack {plan.stack}; '
                f"for good: raise demand.targetRps and headroom up --stack {plan.stack}",
                severity=Severity.warning,
                evidence=_metrics(hpa),
            )


def window(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """It has more or fewer pods than its metrics ask for, because it waits: as it is meant to."""
    for service, hpa in _each(seen, plan):
        able = objects.condition(hpa, "AbleToScale")
        current, spec = hpa.get("status", {}).get("currentReplicas", 0), hpa["spec"]
        reason = able.get("reason") if able else None
        behavior = spec.get("behavior") or {}
        if reason == "ScaleDownStabilized" and current > spec.get("minReplicas", 1):
            seconds = (behavior.get("scaleDown") or {}).get("stabilizationWindowSeconds", 300)
            way, because = "fewer", f"it goes down only to the most that was needed in the last {seconds} s"
        elif reason == "ScaleUpStabilized" and current < spec["maxReplicas"]:
            seconds = (behavior.get("scaleUp") or {}).get("stabilizationWindowSeconds", 0)
            way, because = "more", f"it goes up only to the least that was needed in the last {seconds} s"
        else:
            continue
        yield _about(service).finding(
            "autoscaler-waits-in-its-window",
            f"has {current} pods and will have {way} soon",
            f"{because}: it damps short changes",
            f'nothing; faster, once: headroom scale {service.key} --to N --because "…" --stack {plan.stack}',
            severity=Severity.note,
            evidence=(*_conditions(hpa, "AbleToScale"), *_metrics(hpa)),
        )


def drifted(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Its bounds are not those of the plan, or it cannot change its target."""
    for service, hpa in _each(seen, plan):
        live = (hpa["spec"].get("minReplicas", 1), hpa["spec"]["maxReplicas"])
        planned = (service.min_replicas.value, service.max_replicas.value)
        if live != planned:
            yield _about(service).finding(
                "autoscaler-is-not-as-planned",
                f"is held between {live[0]} and {live[1]} pods, and {planned[0]} to {planned[1]} are planned",
                "somebody changed it by hand, or the stack file was changed and not deployed",
                f"headroom up --stack {plan.stack}",
                severity=Severity.warning,
            )
        able = objects.condition(hpa, "AbleToScale")
        if able and able["status"] != "True":
            yield _about(service).finding(
                "autoscaler-is-not-as-planned",
                "cannot be scaled",
                f"{able.get('reason')}: the autoscaler cannot read or change its Deployment",
                f"kubectl describe hpa -n {service.namespace} {objects.name(hpa)}",
                evidence=_conditions(hpa, "AbleToScale"),
            )


def find(seen: Snapshot, service: ServicePlan) -> Manifest | None:
    """The HPA of a service; KEDA makes that of a ScaledObject itself, and names it so."""
    places = {f"{service.namespace}/{n}" for n in (f"{service.key}-hpa", f"keda-hpa-{service.key}-hpa")}
    return next((h for h in seen.autoscalers if objects.place(h) in places), None)


def _each(seen: Snapshot, plan: Plan) -> Iterator[tuple[ServicePlan, Manifest]]:
    for service in plan.services:
        hpa = find(seen, service)
        if hpa is not None and not service.maintenance:
            yield service, hpa


def _lacking(seen: Snapshot, hpa: Manifest) -> list[tuple[str, str, str]]:
    """The API groups that the metrics need and that do not answer: group, why, and how to bring it."""
    found: dict[str, tuple[str, str, str]] = {}
    for metric in hpa["spec"].get("metrics") or []:
        group, fix = _SERVED.get(metric["type"], ("", ""))
        if not group:
            continue
        registered = {name: words for name, words in seen.apis.items() if name.partition(".")[2] == group}
        if not registered or all(registered.values()):
            found[group] = (group, next(iter(registered.values()), ""), fix)
    return list(found.values())


def _inactive(plan: Plan, service: ServicePlan, hpa: Manifest, active: Manifest) -> Finding:
    reason = str(active.get("reason"))
    said = _conditions(hpa, "ScalingActive")
    if reason == "ScalingDisabled":
        return _about(service).finding(
            "autoscaler-is-suspended",
            "is not scaled: its Deployment has 0 replicas",
            "0 replicas switch an autoscaler off: maintenance was left on, or somebody scaled to 0 by hand",
            f"headroom maintenance off {service.key} --stack {plan.stack}",
            evidence=said,
        )
    if reason in ("AmbiguousSelector", "InvalidSelector"):
        return _about(service).finding(
            "two-autoscalers-own-the-pods",
            "is not scaled: its pods belong to two autoscalers",
            "another HPA or ScaledObject selects the same pods, and Kubernetes lets neither act",
            f"kubectl get hpa,scaledobjects -n {service.namespace}; then delete the one that is not ours",
            evidence=said,
        )
    metric = service.autoscaling.pods_metric
    return _about(service).finding(
        "metric-is-missing",
        "is not scaled: its metric has no value",
        f"{reason}: the API answers, and has no value for these pods: they are too new (a minute), are not scraped, "
        "or do not emit it" + (f" ({metric.name})" if metric else ""),
        f"kubectl top pods -n {service.namespace} -l app={service.key}; kubectl describe hpa -n {service.namespace} "
        f"{objects.name(hpa)}",
        evidence=said,
    )


def _fallback(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    for service in plan.services:
        place = f"{service.namespace}/{service.key}-hpa"
        scaled = next((s for s in seen.scaled_objects if objects.place(s) == place), None)
        ready = objects.condition(scaled, "Ready") if scaled else None
        if scaled and (objects.holds(scaled, "Fallback") or (ready and ready["status"] == "False")):
            yield _about(service).finding(
                "metric-is-missing",
                "is held where it is: KEDA gets no value for its trigger",
                "its Prometheus does not answer, or has no such series; KEDA then keeps what there is",
                f"kubectl describe scaledobject -n {service.namespace} {service.key}-hpa",
                evidence=(*_conditions(scaled, "Fallback"), *_conditions(scaled, "Ready")),
            )


def _conditions(of: Manifest, kind: str) -> tuple[str, ...]:
    found = objects.condition(of, kind)
    return (f"{found.get('reason')}: {found.get('message', '')}",) if found else ()


def _metrics(hpa: Manifest) -> tuple[str, ...]:
    """`cpu at 475 %, held at 70 %` of each metric."""
    targets = {_metric_name(m): m for m in hpa["spec"].get("metrics") or []}
    lines = []
    for now in hpa.get("status", {}).get("currentMetrics") or []:
        name = _metric_name(now)
        if name and name in targets:
            lines.append(f"{name} at {_level(now, 'current')}, held at {_level(targets[name], 'target')}")
    return tuple(lines)


def _metric_name(metric: Manifest) -> str:
    body = _body(metric)
    return str(body.get("name") or (body.get("metric") or {}).get("name") or "")


def _level(metric: Manifest, side: str) -> str:
    level = _body(metric).get(side) or {}
    share = level.get("averageUtilization")
    return f"{share} %" if share is not None else str(level.get("averageValue") or level.get("value"))


def _body(metric: Manifest) -> Manifest:
    kind = metric.get("type") or ""
    return metric.get(kind[:1].lower() + kind[1:]) or {}


def _about(service: ServicePlan) -> About:
    return About(service.key, f"autoscaler of {service.namespace}/{service.key}")
