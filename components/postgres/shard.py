"""The pods of one shard: a StatefulSet under Patroni."""

from __future__ import annotations

import json

from components import pods
from components.metadata import Identity
from components.objects import Manifest
from components.postgres.settings import PORT, REST_PORT
from headroom.capacity.plan.model import ImagesPlan, PostgresPlan

USER_ID = 999
GRACE_SECONDS = 60
DATA = "/var/lib/postgresql/data"
RUN = "/run/headroom"
SOCKETS = "/var/run/postgresql"
CLAIM = "data"
PASSWORDS = "/etc/headroom/passwords"
SETTINGS = "/etc/headroom/settings"


def stateful_set_spec(
    plan: PostgresPlan, owner: Identity, *, images: ImagesPlan, passwords: str, settings: str
) -> Manifest:
    """`spec` of a shard's StatefulSet. Its claim template is the same for ever: claims are objects of their own."""
    selector = owner.selector()
    return {
        "replicas": plan.replication_factor.value,
        "serviceName": f"{owner.name}-pods",
        "podManagementPolicy": "Parallel",
        "revisionHistoryLimit": 5,
        "updateStrategy": {"type": "RollingUpdate"},
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
        "selector": {"matchLabels": selector},
        "template": {
            "metadata": {
                "labels": owner.labels(image=plan.image),
                "annotations": {
                    "prometheus.io/scrape": "true",
                    "prometheus.io/scheme": "https",
                    "prometheus.io/port": str(REST_PORT),
                    "prometheus.io/path": "/metrics",
                },
            },
            "spec": {
                **pods.pod_defaults(images, owner.name, GRACE_SECONDS, uses_api=True, user_id=USER_ID),
                "affinity": _apart(owner),
                "topologySpreadConstraints": pods.spread(selector, "controller-revision-hash"),
                "initContainers": [_keeper(plan, owner, images)],
                "containers": [_postgres(plan, owner, images)],
                "volumes": [
                    # Passwords and a private key: in memory, gone with the pod.
                    {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "4Mi"}},
                    {"name": "sockets", "emptyDir": {"sizeLimit": "8Mi"}},
                    {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
                    # The container runtime's own 64 MB are too few for parallel queries.
                    {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": plan.shared_memory.value}},
                    {"name": "passwords", "secret": {"secretName": passwords, "defaultMode": 0o440}},
                    {"name": "settings", "configMap": {"name": settings}},
                ],
            },
        },
        "volumeClaimTemplates": [
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": CLAIM},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            }
        ],
    }


def claim_name(owner: Identity, copy: int) -> str:
    """The claim that the StatefulSet expects for a pod."""
    return f"{CLAIM}-{owner.name}-{copy}"


def _postgres(plan: PostgresPlan, owner: Identity, images: ImagesPlan) -> Manifest:
    return {
        "name": "postgres",
        "image": plan.image,
        "imagePullPolicy": images.pull_policy,
        "command": ["patroni", f"{RUN}/patroni.yaml"],
        "ports": [
            {"name": "postgres", "containerPort": PORT, "protocol": "TCP"},
            {"name": "patroni", "containerPort": REST_PORT, "protocol": "TCP"},
        ],
        "resources": pods.resources(plan.resources),
        "startupProbe": _probe("/liveness", period=2, failures=150),
        # A frozen or demoted primary leaves the Service well before its lock runs out.
        "readinessProbe": _probe("/readiness", period=3, failures=2),
        # Of Patroni's own loop, whatever PostgreSQL does: a restart would only lengthen a recovery.
        "livenessProbe": _probe("/liveness", period=10, failures=3),
        "securityContext": pods.container_security(),
        "volumeMounts": [
            {"name": CLAIM, "mountPath": DATA},
            {"name": "run", "mountPath": RUN},
            {"name": "sockets", "mountPath": SOCKETS},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108
        ],
    }


def _keeper(plan: PostgresPlan, owner: Identity, images: ImagesPlan) -> Manifest:
    labels = {"app.kubernetes.io/part-of": owner.labels()["app.kubernetes.io/part-of"]}
    environment = [
        {"name": "PATRONI_SCOPE", "value": owner.name},
        {"name": "PATRONI_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "PATRONI_KUBERNETES_NAMESPACE", "value": owner.namespace},
        {"name": "PATRONI_KUBERNETES_LABELS", "value": json.dumps(labels)},
        {"name": "PATRONI_KUBERNETES_POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
    ]
    alive = {"exec": {"command": ["alive", f"{RUN}/ready"]}}
    return {
        "name": "keeper",
        "image": plan.image,
        "imagePullPolicy": images.pull_policy,
        "restartPolicy": "Always",
        "command": ["/opt/patroni/bin/python", "-m", "shard.keeper"],
        "env": environment,
        "resources": pods.resources(plan.sidecars["keeper"]),
        # Patroni starts once its configuration is written.
        "startupProbe": {**alive, "periodSeconds": 1, "timeoutSeconds": 5, "failureThreshold": 120},
        "livenessProbe": {**alive, "periodSeconds": 30, "timeoutSeconds": 5, "failureThreshold": 3},
        "securityContext": pods.container_security(),
        "volumeMounts": [
            {"name": "run", "mountPath": RUN},
            {"name": "sockets", "mountPath": SOCKETS},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            {"name": "passwords", "mountPath": PASSWORDS, "readOnly": True},
            {"name": "settings", "mountPath": SETTINGS, "readOnly": True},
        ],
    }


def _probe(path: str, *, period: int, failures: int) -> Manifest:
    return {
        "httpGet": {"path": path, "port": "patroni", "scheme": "HTTPS"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _apart(owner: Identity) -> Manifest:
    """Copies on nodes of their own where there are enough; one machine runs them all."""
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": owner.selector()}}
    return {
        "podAntiAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 100, "podAffinityTerm": term}]
        }
    }
