"""The StatefulSet of Redis and its resize Jobs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from components import pods
from components.metadata import Identity
from components.objects import Manifest
from components.redis.names import HEADLESS, METRICS_PORT, NAME, PORT, SENTINEL_PORT, pod_count
from headroom.capacity.plan.model import ImagesPlan, RedisPlan, Resources

USER_ID = 999
"""The image's own user; redis-server needs no entry in /etc/passwd, but its data folder has an owner."""
GRACE_SECONDS = 60
"""preStop hands the role over (20 s at most), then the server syncs its file and stops."""
CLAIM_SIZE = "1Gi"
"""What the template says for ever; the claims themselves are objects of their own, of the plan's size."""
LAST_RESORT = {"periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6}
"""Liveness: sentinels and neighbours notice within 5 s; the kubelet steps in after a minute, not on a busy machine."""
SECRETS_FOLDER = "/etc/redis-auth"
JOB_SECONDS = 7200
"""Slots with much data take their time; the next pod of the Job goes on where this one stopped."""


def stateful_set(
    plan: RedisPlan,
    owner: Identity,
    images: ImagesPlan,
    *,
    settings: str,
    secret: str,
    annotations: Mapping[str, str],
) -> Manifest:
    """`spec` of the StatefulSet. `settings` names the ConfigMap, `secret` the Secret of the passwords."""
    sentinel = plan.mode == "sentinel"
    # Helpers start before the server and stop after it: a master on its way out still has its sentinel.
    helpers = [*([_sentinel(plan, images, settings)] if sentinel else []), _exporter(plan, images)]
    claim: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": CLAIM_SIZE}}}
    if plan.storage_class:
        claim["storageClassName"] = plan.storage_class
    return {
        "serviceName": HEADLESS,
        "replicas": pod_count(plan),
        # All at once: after a power cut nobody can wait for pod 0, and each asks who leads before it starts.
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "revisionHistoryLimit": 5,
        # Sentinels look at replicas every 10 s at most, and need to have seen one before they can choose it.
        "minReadySeconds": 5,
        "selector": {"matchLabels": owner.selector()},
        "template": {
            "metadata": {"labels": owner.labels(image=plan.image), "annotations": {**_SCRAPE, **annotations}},
            "spec": {
                **pods.pod_defaults(images, NAME, GRACE_SECONDS, uses_api=sentinel, user_id=USER_ID),
                "topologySpreadConstraints": pods.spread(owner.selector(), "controller-revision-hash"),
                "initContainers": [{**helper, "restartPolicy": "Always"} for helper in helpers],
                "containers": [_server(plan, images, settings)],
                "volumes": [
                    {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
                    {"name": "exporter", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                    _passwords(secret),
                    {
                        "name": "monitor",
                        "secret": {
                            "secretName": secret,
                            "defaultMode": 0o440,
                            "items": [{"key": "redisMonitor", "path": "redisMonitor"}],
                        },
                    },
                ],
            },
        },
        "volumeClaimTemplates": [
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"}, "spec": claim}
        ],
    }


_SCRAPE = {"prometheus.io/scrape": "true", "prometheus.io/port": str(METRICS_PORT), "prometheus.io/path": "/metrics"}


def resize_job(
    step: Literal["drain", "fill"],
    plan: RedisPlan,
    owner: Identity,
    images: ImagesPlan,
    size: Resources,
    *,
    environment: Mapping[str, str],
    secret: str,
) -> Manifest:
    """`spec` of a Job that runs before (`drain`) or after (`fill`) the StatefulSet changes."""
    container: Manifest = {
        "name": step,
        "image": plan.image,
        "imagePullPolicy": images.pull_policy,
        "command": ["redis-node", step],
        "env": [
            *({"name": name, "value": value} for name, value in sorted(environment.items())),
            *_own_fields(),
        ],
        "resources": pods.resources(size),
        "securityContext": pods.container_security(),
        "volumeMounts": [{"name": "passwords", "mountPath": SECRETS_FOLDER, "readOnly": True}],
    }
    return {
        # Each try goes on where the last one stopped; ten with growing pauses span about half an hour.
        "backoffLimit": 10,
        "template": {
            "metadata": {"labels": owner.labels(image=plan.image)},
            "spec": {
                **pods.pod_defaults(images, owner.name, 30, uses_api=True, user_id=USER_ID),
                # A pod with a deadline is outside the quota, which a shrink lowers before the drain runs.
                "activeDeadlineSeconds": JOB_SECONDS,
                "restartPolicy": "OnFailure",
                "topologySpreadConstraints": pods.spread(owner.selector(), "controller-uid"),
                "containers": [container],
                "volumes": [_passwords(secret)],
            },
        },
    }


def _server(plan: RedisPlan, images: ImagesPlan, settings: str) -> Manifest:
    alive = {"exec": {"command": ["healthcheck"]}, "timeoutSeconds": 5}
    return {
        **_container(NAME, plan, images, plan.resources),
        "command": ["redis-node", "server"],
        "ports": [_port(NAME, PORT), *([_port("bus", 16379)] if plan.mode == "cluster" else [])],
        "envFrom": [{"configMapRef": {"name": settings}}],
        "env": _own_fields(),
        "lifecycle": {"preStop": {"exec": {"command": ["redis-node", "leave"]}}},
        # The first start waits until a quorum of sentinels answers.
        "startupProbe": {**alive, "periodSeconds": 1, "failureThreshold": 600},
        # A node that loads its data is alive and not ready: it must not be killed for being full.
        "livenessProbe": {**alive, **LAST_RESORT},
        "readinessProbe": {"exec": {"command": ["redis-ready"]}, "periodSeconds": 5, "timeoutSeconds": 5},
        "volumeMounts": _mounts(data=True),
    }


def _sentinel(plan: RedisPlan, images: ImagesPlan, settings: str) -> Manifest:
    alive = {"exec": {"command": ["healthcheck", str(SENTINEL_PORT)]}, "timeoutSeconds": 5}
    return {
        **_container("sentinel", plan, images, plan.sidecars["sentinel"]),
        "command": ["redis-node", "sentinel"],
        "ports": [_port("sentinel", SENTINEL_PORT)],
        "envFrom": [{"configMapRef": {"name": settings}}],
        "env": _own_fields(),
        "startupProbe": {**alive, "periodSeconds": 1, "failureThreshold": 120},
        "livenessProbe": {**alive, **LAST_RESORT},
        "readinessProbe": {**alive, "periodSeconds": 5},
        "volumeMounts": _mounts(data=True),
    }


def _exporter(plan: RedisPlan, images: ImagesPlan) -> Manifest:
    probe = {"httpGet": {"path": "/", "port": "metrics"}, "timeoutSeconds": 2}
    return {
        **_container("exporter", plan, images, plan.sidecars["exporter"]),
        "command": ["redis-node", "exporter"],
        "ports": [_port("metrics", METRICS_PORT)],
        "env": [{"name": "REDIS_MODE", "value": plan.mode}, *_own_fields()],
        "livenessProbe": {**probe, "periodSeconds": 20},
        "readinessProbe": {**probe, "periodSeconds": 10},
        # Its own password alone; the others' is in the folder of the server.
        "volumeMounts": [
            {"name": "exporter", "mountPath": "/run/redis"},
            {"name": "monitor", "mountPath": SECRETS_FOLDER, "readOnly": True},
        ],
    }


def _container(name: str, plan: RedisPlan, images: ImagesPlan, size: Resources) -> Manifest:
    return {
        "name": name,
        "image": plan.image,
        "imagePullPolicy": images.pull_policy,
        "resources": pods.resources(size),
        "securityContext": pods.container_security(),
    }


def _own_fields() -> list[Manifest]:
    fields = {"POD_NAME": "metadata.name", "POD_NAMESPACE": "metadata.namespace", "POD_IP": "status.podIP"}
    return [{"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}} for name, path in fields.items()]


def _mounts(*, data: bool) -> list[Manifest]:
    return [
        *([{"name": "data", "mountPath": "/data"}] if data else []),
        {"name": "run", "mountPath": "/run/redis"},
        {"name": "passwords", "mountPath": SECRETS_FOLDER, "readOnly": True},
    ]


def _passwords(secret: str) -> Manifest:
    return {"name": "passwords", "secret": {"secretName": secret, "defaultMode": 0o440}}


def _port(name: str, number: int) -> dict[str, Any]:
    return {"name": name, "containerPort": number, "protocol": "TCP"}
