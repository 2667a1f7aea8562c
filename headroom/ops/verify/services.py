"""Stateless services: do they have endpoints, answer their health check, and does their autoscaler see its metrics?"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from headroom.capacity.plan.model import ServicePlan
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Manifest
from headroom.ops import inside
from headroom.ops.ages import age
from headroom.ops.signals import METRICS
from headroom.ops.verify.model import Finding, Scene, Verdict, judge

METRICS_DELAY_SECONDS = 90
"""How long new pods may be without metrics: metrics-server needs two looks at them, up to a minute apart."""


def endpoints(scene: Scene) -> Iterator[Finding]:
    """A Service without ready endpoints answers nobody."""
    for service in _running(scene):
        slices = scene.kubectl.items("endpointslices", service.namespace, f"kubernetes.io/service-name={service.key}")
        ready = [e for s in slices for e in s.get("endpoints") or [] if e.get("conditions", {}).get("ready")]
        yield judge(
            service.key,
            "endpoints",
            bool(ready),
            f"{len(ready)} ready",
            f"kubectl get endpointslices -n {service.namespace} -l kubernetes.io/service-name={service.key}",
        )


def health(scene: Scene) -> Iterator[Finding]:
    """The service answers its readiness path, asked through the API server's proxy."""
    for service in _running(scene):
        if not scene.real_pods:
            yield Finding(service.key, "health", Verdict.skipped, "no software runs in the pods of fake nodes")
            continue
        live = scene.kubectl.find("deployment", service.key, service.namespace)
        probe = _readiness(live) if live else None
        if probe is None:
            yield judge(
                service.key, "health", False, "no readiness probe to ask", f"headroom up --stack {scene.plan.stack}"
            )
            continue
        port, path = probe
        yield _health(scene, service, port, path)


def _health(scene: Scene, service: ServicePlan, port: int | str, path: str) -> Finding:
    logs = f"kubectl logs -n {service.namespace} deployment/{service.key} --tail 50"
    asked = f"/api/v1/namespaces/{service.namespace}/services/{service.key}:{port}/proxy{path}"
    try:
        done = scene.kubectl.raw(asked)
    except EnvironmentFailure as error:  # it hangs, and the others are asked all the same
        return judge(service.key, "health", False, f"GET {path}: {error.message[:160]}", logs)
    if done.returncode:
        return judge(service.key, "health", False, done.stderr.strip()[:160], logs)
    return judge(service.key, "health", True, f"GET {path}: {done.stdout.strip()[:80] or '200'}")


def metrics(scene: Scene) -> Iterator[Finding]:
    """Every ready pod shows its metrics, with what the autoscaler and the alerts read among them."""
    for service in _running(scene):
        if service.preset not in METRICS or service.profile == "current":
            continue  # the program counts no requests
        if not scene.real_pods:
            yield Finding(service.key, "metrics", Verdict.skipped, "no software runs in the pods of fake nodes")
            continue
        yield _metrics(scene, service)


def _metrics(scene: Scene, service: ServicePlan) -> Finding:
    wanted = {*METRICS[service.preset]}
    if service.autoscaling.source != "resource" and service.autoscaling.pods_metric:
        wanted.add(service.autoscaling.pods_metric.name)
    pods = [p for p in scene.kubectl.items("pods", service.namespace, f"app={service.key}") if inside.running(p)]
    silent, without = [], set(wanted)
    for pod in pods:
        name, notes = pod["metadata"]["name"], pod["metadata"].get("annotations") or {}
        port, path = notes.get("prometheus.io/port", "8080"), notes.get("prometheus.io/path", "/metrics")
        try:
            text = inside.get(scene.kubectl, f"/api/v1/namespaces/{service.namespace}/pods/{name}:{port}/proxy{path}")
        except EnvironmentFailure as error:
            silent.append(f"{name}: {error.message[:80]}")
            continue
        without -= {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    said = f"{len(pods) - len(silent)} of {len(pods)} pods show them"
    said += "".join(f"; {words}" for words in silent[:3])
    said += f"; none has {', '.join(sorted(without))}" if without else ""
    fix = f"kubectl logs -n {service.namespace} deployment/{service.key} --tail 50"
    return judge(service.key, "metrics", bool(pods) and not silent and not without, said, fix)


def autoscalers(scene: Scene) -> Iterator[Finding]:
    """The one autoscaler of each service has the plan's bounds, can scale, and gets its metrics."""
    for service in scene.plan.services:
        hpa = _hpa(scene, service)
        if hpa is None:
            yield judge(service.key, "autoscaler", False, "none", f"headroom up --stack {scene.plan.stack}")
            continue
        bounds = (hpa["spec"].get("minReplicas", 1), hpa["spec"]["maxReplicas"])
        planned = (service.min_replicas.value, service.max_replicas.value)
        yield judge(
            service.key,
            "autoscaler bounds",
            bounds == planned,
            f"live {bounds[0]} to {bounds[1]}, planned {planned[0]} to {planned[1]}",
            f"headroom up --stack {scene.plan.stack}",
        )
        if not service.maintenance:
            yield _scaling(service, hpa)


def _scaling(service: ServicePlan, hpa: Manifest) -> Finding:
    conditions = {c["type"]: c for c in hpa.get("status", {}).get("conditions", [])}
    bad = [c for t in ("AbleToScale", "ScalingActive") if (c := conditions.get(t)) and c["status"] != "True"]
    if not conditions:
        return judge(
            service.key, "autoscaler", False, "the autoscaler has not looked yet", "wait 15 s and verify again"
        )
    said = "; ".join(f"{c['reason']}: {c['message']}" for c in bad) or "able to scale, its metrics answer"
    new = all(age(datetime.now(UTC), c["lastTransitionTime"]) < METRICS_DELAY_SECONDS for c in bad)
    if bad and new and all(c["reason"].startswith("FailedGet") for c in bad):
        return Finding(service.key, "autoscaler", Verdict.warned, f"no metrics yet: {said}", "verify again in a minute")
    return judge(
        service.key,
        "autoscaler",
        not bad,
        said,
        f"kubectl describe hpa -n {service.namespace} {hpa['metadata']['name']}",
    )


def _hpa(scene: Scene, service: ServicePlan) -> Manifest | None:
    # KEDA makes the HPA of a ScaledObject itself, and names it so.
    names = [f"{service.key}-hpa", f"keda-hpa-{service.key}-hpa"]
    return next((h for n in names if (h := scene.kubectl.find("hpa", n, service.namespace))), None)


def _readiness(deployment: Manifest) -> tuple[int | str, str] | None:
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        get = container.get("readinessProbe", {}).get("httpGet")
        if get:
            return get["port"], get["path"]
    return None


def _running(scene: Scene) -> Iterator[ServicePlan]:
    return (s for s in scene.plan.services if not s.maintenance)
