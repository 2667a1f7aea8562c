"""Prometheus as a pod: it finds pods by their annotations and the kubelet by its node, and keeps six hours."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from headroom.local import binaries
from headroom.local.addons import parts
from headroom.local.model import Cluster
from headroom.progress import Progress, step

NAME = "prometheus"
PORT = 9090
ADDRESS = f"http://{NAME}.{parts.NAMESPACE}:{PORT}"
"""What `prometheusAddress` is in a stack file of the embedded cluster."""
LABELS = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/component": "server"}
SCRAPE_SECONDS = 5
"""Short, so that an autoscaler sees a load soon; production's 15 to 60 s are added to its delay."""


def install(cluster: Cluster, progress: Progress) -> None:
    """Prometheus in namespace `monitoring`, ready to be asked."""
    binaries.ensure((binaries.PROMETHEUS,), progress)
    with step(progress, "starting Prometheus", f"Prometheus at {ADDRESS} in the cluster"):
        parts.put(cluster, objects(parts.image(cluster, binaries.PROMETHEUS, "prometheus", "/prometheus")))
        parts.await_deployments(cluster, parts.NAMESPACE)


def objects(image: str) -> list[dict[str, Any]]:
    """All of it. JSON is YAML, so that is what the configuration is written as."""
    settings = json.dumps(configuration(), indent=1)
    return [
        parts.namespace(),
        *parts.account(
            NAME,
            [
                {"apiGroups": [""], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]},
            ],
        ),
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": NAME, "namespace": parts.NAMESPACE},
            "data": {"prometheus.yml": settings},
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": parts.NAMESPACE, "labels": LABELS},
            "spec": {"selector": LABELS, "ports": [{"name": "http", "port": PORT, "targetPort": "http"}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": parts.NAMESPACE, "labels": LABELS},
            "spec": {
                "replicas": 1,
                # Two at once would both hold the volume's lock.
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": LABELS},
                "template": {
                    "metadata": {
                        "labels": LABELS,
                        "annotations": {
                            "headroom.dev/configuration": hashlib.sha256(settings.encode()).hexdigest()[:12]
                        },
                    },
                    "spec": pod(image),
                },
            },
        },
    ]


def pod(image: str) -> dict[str, Any]:
    return {
        "serviceAccountName": NAME,
        "securityContext": parts.pod_security(),
        "containers": [
            {
                "name": NAME,
                "image": image,
                "imagePullPolicy": "Never",
                "args": [
                    "--config.file=/etc/prometheus/prometheus.yml",
                    "--storage.tsdb.path=/data",
                    "--storage.tsdb.retention.time=6h",
                    "--storage.tsdb.retention.size=256MB",
                    "--query.max-samples=5000000",
                ],
                "ports": [{"name": "http", "containerPort": PORT}],
                "readinessProbe": {"httpGet": {"path": "/-/ready", "port": "http"}, "periodSeconds": 2},
                "livenessProbe": {"httpGet": {"path": "/-/healthy", "port": "http"}, "timeoutSeconds": 5},
                "resources": {
                    "requests": {"cpu": "50m", "memory": "128Mi"},
                    "limits": {"cpu": "1", "memory": "512Mi"},
                },
                "securityContext": parts.container_security(),
                "volumeMounts": [
                    {"name": "configuration", "mountPath": "/etc/prometheus", "readOnly": True},
                    {"name": "data", "mountPath": "/data"},
                ],
            }
        ],
        "volumes": [
            {"name": "configuration", "configMap": {"name": NAME}},
            {"name": "data", "emptyDir": {"sizeLimit": "768Mi"}},
        ],
    }


def configuration() -> dict[str, Any]:
    """The community chart's job for annotated pods, and the kubelet with the usage of containers."""
    return {
        "global": {"scrape_interval": f"{SCRAPE_SECONDS}s", "evaluation_interval": f"{SCRAPE_SECONDS}s"},
        "scrape_configs": [
            {
                "job_name": "kubernetes-pods",
                "kubernetes_sd_configs": [{"role": "pod"}],
                # Patroni's certificate is each pod's own.
                "tls_config": {"insecure_skip_verify": True},
                "relabel_configs": [
                    *_annotations(),
                    {"source_labels": ["__meta_kubernetes_pod_phase"], "regex": "Running", "action": "keep"},
                    {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
                    {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
                    {"source_labels": ["__meta_kubernetes_pod_label_app"], "target_label": "app"},
                    {"source_labels": ["__meta_kubernetes_pod_label_headroom_dev_track"], "target_label": "track"},
                ],
            },
            _kubelet("kubelet", "/metrics", ["kubelet_volume_stats_.+", "kubelet_running_pods"]),
            _kubelet("cadvisor", "/metrics/cadvisor", ["container_(cpu|memory|fs|oom).+"]),
        ],
    }


def _annotations() -> list[dict[str, Any]]:
    """`prometheus.io/scrape`, `scheme`, `path` and `port`. A pod of several ports is one target, not one a port."""
    prefix = "__meta_kubernetes_pod_annotation_prometheus_io"
    return [
        {"source_labels": [f"{prefix}_scrape"], "regex": "true", "action": "keep"},
        {"source_labels": [f"{prefix}_scheme"], "regex": "(https?)", "target_label": "__scheme__", "action": "replace"},
        {"source_labels": [f"{prefix}_path"], "regex": "(.+)", "target_label": "__metrics_path__", "action": "replace"},
        {
            "source_labels": ["__meta_kubernetes_pod_ip", f"{prefix}_port"],
            "regex": r"(.+);(\d+)",
            "replacement": "$1:$2",
            "target_label": "__address__",
            "action": "replace",
        },
    ]


def _kubelet(job: str, path: str, kept: list[str]) -> dict[str, Any]:
    return {
        "job_name": job,
        "scheme": "https",
        "metrics_path": path,
        "kubernetes_sd_configs": [{"role": "node"}],
        "tls_config": {"insecure_skip_verify": True},
        "authorization": {"credentials_file": "/var/run/secrets/kubernetes.io/serviceaccount/token"},
        "relabel_configs": [{"source_labels": ["__meta_kubernetes_node_name"], "target_label": "node"}],
        "metric_relabel_configs": [{"source_labels": ["__name__"], "regex": "|".join(kept), "action": "keep"}],
    }
