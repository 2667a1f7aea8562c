"""Namespaces, pods and rollouts: is what the plan asked for there, ready, and the newest revision of it?"""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import ServicePlan
from headroom.kubectl import Manifest
from headroom.ops.verify.model import Finding, Scene, judge


def namespaces(scene: Scene) -> Iterator[Finding]:
    """Every namespace of the plan exists and enforces the restricted Pod Security Standard."""
    for namespace in scene.plan.namespaces:
        text = scene.kubectl.run("get", "namespace", namespace.name, "-o", "json", "--ignore-not-found").stdout
        labels = scene.kubectl.get("namespace", namespace.name)["metadata"].get("labels", {}) if text else {}
        level = labels.get("pod-security.kubernetes.io/enforce", "none")
        yield judge(
            namespace.name,
            "namespace",
            level == "restricted",
            f"Pod Security Standard: {level}" if text else "does not exist",
            f"headroom up --stack {scene.plan.stack}",
        )


def pods(scene: Scene) -> Iterator[Finding]:
    """No pod of the plan's namespaces waits, crashes or is not ready."""
    for namespace in scene.plan.namespaces:
        every = [p for p in scene.kubectl.items("pods", namespace.name) if not _finished(p)]
        sick = [p for p in every if not _ready(p)]
        yield judge(
            namespace.name,
            "pods",
            not sick,
            f"{len(every) - len(sick)} of {len(every)} ready"
            + "".join(f"; {p['metadata']['name']}: {_trouble(p)}" for p in sick[:5]),
            f"kubectl describe pods -n {namespace.name}; headroom local status shows the cluster's kubeconfig",
        )


def rollouts(scene: Scene) -> Iterator[Finding]:
    """Each service's Deployment runs its newest revision in at least the planned minimum of ready pods."""
    for service in scene.plan.services:
        deployment = scene.kubectl.find("deployment", service.key, service.namespace)
        if deployment is None:
            yield judge(service.key, "rollout", False, "no such Deployment", f"headroom up --stack {scene.plan.stack}")
            continue
        yield _rollout(service, deployment)


def _rollout(service: ServicePlan, deployment: Manifest) -> Finding:
    status = deployment.get("status", {})
    ready, updated, total = (status.get(k, 0) for k in ("readyReplicas", "updatedReplicas", "replicas"))
    if service.maintenance:
        return judge(service.key, "rollout", total == 0, f"in maintenance: {total} pods", "end it: maintenance: false")
    observed = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    wanted = service.min_replicas.value
    return judge(
        service.key,
        "rollout",
        observed and updated == total and ready >= wanted,
        f"{ready} ready, {updated} of {total} at the newest revision, at least {wanted} planned",
        f"kubectl rollout status deployment/{service.key} -n {service.namespace}",
    )


def _finished(pod: Manifest) -> bool:
    return pod.get("status", {}).get("phase") == "Succeeded" or "deletionTimestamp" in pod["metadata"]


def _ready(pod: Manifest) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))


def _trouble(pod: Manifest) -> str:
    """The most telling reason that a pod is not ready."""
    status = pod.get("status", {})
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        state = container.get("state", {})
        for kind in ("waiting", "terminated"):
            if kind in state and state[kind].get("reason") != "Completed":
                return str(state[kind].get("reason", kind))
    for condition in status.get("conditions", []):
        if condition["status"] != "True" and condition.get("message"):
            return str(condition["message"])
    return str(status.get("phase", "unknown"))
