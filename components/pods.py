"""Parts that every pod template shares: what `restricted` asks for, resources, spread, scratch space."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.objects import Manifest
from headroom.capacity.plan.model import ImagesPlan, Resources
from headroom.capacity.plan.presets import SURGE_PERCENT

USER_ID = 10001
"""Any user will do for most images; one above the ids that a node's own accounts have owns no file of the host."""


@dataclass(frozen=True)
class SecretKey:
    """One key of a Secret in the pod's namespace."""

    secret: str
    key: str


def pod_defaults(
    images: ImagesPlan,
    service_account: str,
    grace_period_seconds: int,
    *,
    uses_api: bool = False,
    user_id: int = USER_ID,
) -> Manifest:
    """Pod-level fields: non-root, seccomp, no API token unless asked for, no variables of the neighbours' addresses.

    `user_id` is for images whose program looks itself up in `/etc/passwd`.
    """
    pod: Manifest = {
        "serviceAccountName": service_account,
        "automountServiceAccountToken": uses_api,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user_id,
            "runAsGroup": user_id,
            "fsGroup": user_id,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }
    if images.pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in images.pull_secrets]
    return pod


def container_security() -> Manifest:
    """Container-level fields that the `restricted` standard asks for, and a root file system that cannot be written."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def rolling_update() -> Manifest:
    """`strategy` of a Deployment: new pods before old ones go, as many as the plan has connections and quota for."""
    return {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": f"{SURGE_PERCENT}%"}}


def resources(plan: Resources) -> Manifest:
    """Requests and limits of a container."""
    return {
        "requests": {"cpu": plan.cpu_request.value, "memory": plan.memory_request.value},
        "limits": {"cpu": plan.cpu_limit.value, "memory": plan.memory_limit.value},
    }


def spread(selector: Mapping[str, str], revision_label: str = "pod-template-hash") -> list[Manifest]:
    """Spread over zones, then nodes. Never in the way of a start: a cluster of one node runs everything.

    `revision_label` is what the workload's controller tells revisions by; `controller-revision-hash` for StatefulSets.
    """
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(selector)},
            # Each revision is spread by itself; else the old one's pods decide where a rollout puts the new.
            "matchLabelKeys": [revision_label],
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def scratch(folders: Mapping[str, str]) -> tuple[list[Manifest], list[Manifest]]:
    """Writable folders over a read-only root: `(volumes, volumeMounts)` for a map of path to size limit."""
    names = {path: path.strip("/").replace("/", "-") for path in folders}
    volumes = [{"name": names[path], "emptyDir": {"sizeLimit": size}} for path, size in folders.items()]
    mounts = [{"name": names[path], "mountPath": path} for path in folders]
    return volumes, mounts


def secret_environment(secrets: Mapping[str, SecretKey]) -> list[Manifest]:
    """`env` entries that take their value from Secrets, in a stable order."""
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret.secret, "key": secret.key}}}
        for name, secret in sorted(secrets.items())
    ]
