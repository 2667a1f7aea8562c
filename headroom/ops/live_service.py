"""A stateless service as it is on the cluster: its Deployment, its autoscaler, and the hand that moves them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from headroom.capacity.demand import StackDemand
from headroom.capacity.demand.problem import closest
from headroom.capacity.plan import Plan
from headroom.capacity.plan.model import ServicePlan
from headroom.engine.rendered import Manifest, ObjectId, RenderedObject
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl

AUTOSCALERS = ("HorizontalPodAutoscaler", "ScaledObject")


@dataclass(frozen=True)
class Live:
    """`least` and `most` are the autoscaler's bounds, None without one; `replicas` what the Deployment is set to."""

    name: str
    namespace: str
    replicas: int
    ready: int
    least: int | None
    most: int | None

    @property
    def deployment(self) -> ObjectId:
        return ObjectId("apps/v1", "Deployment", self.namespace, self.name)


def known(demand: StackDemand, service: str, *also: str) -> None:
    """Raises InputError for a service that the stack has not, naming the nearest one."""
    if service not in demand.services and service not in also:
        fix = closest(service, [*demand.services, *also], "services")
        raise InputError(f"stack {demand.stack} has no service {service!r}", fix=fix)


def planned(plan: Plan, service: str) -> ServicePlan:
    """The plan of one service, which there is."""
    return next(s for s in plan.services if s.key == service)


def find(kubectl: Kubectl, stack: str, name: str, namespace: str) -> Live:
    """Raises EnvironmentFailure where the service is not deployed."""
    deployment = kubectl.find("deployment", name, namespace)
    if deployment is None:
        raise EnvironmentFailure(
            f"there is no deployment/{name} in {namespace} on this cluster", fix=f"headroom up --stack {stack}"
        )
    least, most = _bounds(kubectl, name, namespace)
    status = deployment.get("status", {})
    return Live(name, namespace, deployment["spec"].get("replicas", 1), status.get("readyReplicas", 0), least, most)


def _bounds(kubectl: Kubectl, name: str, namespace: str) -> tuple[int | None, int | None]:
    hpa = kubectl.find("hpa", f"{name}-hpa", namespace)
    if hpa is not None:
        return hpa["spec"].get("minReplicas", 1), hpa["spec"]["maxReplicas"]
    # KEDA makes an HPA of its own from a ScaledObject.
    hpa = kubectl.find("hpa", f"keda-hpa-{name}-hpa", namespace)
    return (hpa["spec"].get("minReplicas", 1), hpa["spec"]["maxReplicas"]) if hpa else (None, None)


def set_replicas(kubectl: Kubectl, live: Live, count: int) -> None:
    """Have the Deployment at `count` now; an autoscaler whose bounds allow it lets it be."""
    kubectl.run("scale", f"deployment/{live.name}", "-n", live.namespace, f"--replicas={count}")


def bounded(autoscaler: RenderedObject, least: int, most: int) -> RenderedObject:
    """The autoscaler with other bounds."""
    names = ("minReplicas", "maxReplicas") if autoscaler.id.kind == AUTOSCALERS[0] else KEDA_BOUNDS
    spec: dict[str, Any] = {**autoscaler.manifest["spec"], names[0]: least, names[1]: most}
    manifest: Manifest = {**autoscaler.manifest, "spec": spec}
    return replace(autoscaler, manifest=manifest)


KEDA_BOUNDS = ("minReplicaCount", "maxReplicaCount")
