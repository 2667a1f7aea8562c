"""The custom metrics API, whose values are what Prometheus has of the pods, or (fake nodes) what is posted."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from headroom.errors import EnvironmentFailure
from headroom.local import binaries, controlplane, pki, processes, record, room
from headroom.local.addons import parts, prometheus
from headroom.local.kube import Api, apply
from headroom.local.model import Cluster
from headroom.local.record import Record
from headroom.progress import Progress, Silent, step

NAME = "custom-metrics"
PORT = 6443
VERSIONS = ("v1beta1", "v1beta2")
LABELS = {"app.kubernetes.io/name": NAME}


def install(cluster: Cluster, progress: Progress) -> None:
    """An adapter to Prometheus as a pod of `monitoring`; custom.metrics.k8s.io answers when this returns."""
    binaries.ensure((binaries.CUSTOM_METRICS,), progress)
    with step(progress, "starting the custom metrics API", "custom.metrics.k8s.io asks Prometheus"):
        parts.put(cluster, objects(parts.image(cluster, binaries.CUSTOM_METRICS, NAME, "/custom-metrics")))
        parts.await_deployments(cluster, parts.NAMESPACE)
        api = Api(cluster.server, cluster.state)
        parts.wait(
            lambda: all(api.ok(f"/apis/custom.metrics.k8s.io/{version}") for version in VERSIONS),
            "the custom metrics API does not answer",
            "kubectl describe apiservice v1beta2.custom.metrics.k8s.io",
        )


def objects(image: str) -> list[dict[str, Any]]:
    group = "rbac.authorization.k8s.io"
    return [
        *parts.account(
            NAME, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}], "system:auth-delegator"
        ),
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": f"headroom-{NAME}", "namespace": "kube-system"},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": "extension-apiserver-authentication-reader"},
            "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": parts.NAMESPACE}],
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": parts.NAMESPACE, "labels": LABELS},
            "spec": {"selector": LABELS, "ports": [{"name": "https", "port": 443, "targetPort": "https"}]},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": NAME, "namespace": parts.NAMESPACE, "labels": LABELS},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": LABELS},
                "template": {"metadata": {"labels": LABELS}, "spec": _pod(image)},
            },
        },
        *(_api(version) for version in VERSIONS),
    ]


def _api(version: str) -> dict[str, Any]:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{version}.custom.metrics.k8s.io"},
        "spec": {
            "group": "custom.metrics.k8s.io",
            "version": version,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            # The pod makes a certificate of its own at its start.
            "insecureSkipTLSVerify": True,
            "service": {"name": NAME, "namespace": parts.NAMESPACE, "port": 443},
        },
    }


def _pod(image: str) -> dict[str, Any]:
    probe = {"path": "/healthz", "port": "https", "scheme": "HTTPS"}
    return {
        "serviceAccountName": NAME,
        "securityContext": parts.pod_security(),
        "containers": [
            {
                "name": NAME,
                "image": image,
                "imagePullPolicy": "Never",
                "args": [f"--prometheus={prometheus.ADDRESS}", f"--secure-port={PORT}", "--cert-dir=/certificates"],
                "ports": [{"name": "https", "containerPort": PORT}],
                "readinessProbe": {"httpGet": probe, "periodSeconds": 2, "timeoutSeconds": 5},
                "livenessProbe": {"httpGet": probe, "timeoutSeconds": 5},
                "resources": {
                    "requests": {"cpu": "25m", "memory": "64Mi"},
                    "limits": {"cpu": "500m", "memory": "256Mi"},
                },
                "securityContext": parts.container_security(),
                "volumeMounts": [{"name": "certificates", "mountPath": "/certificates"}],
            }
        ],
        "volumes": [{"name": "certificates", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}],
    }


@dataclass(frozen=True)
class Posts:
    """The custom metrics API of a cluster of fake nodes, and the address that takes its values."""

    host: str
    port: int

    def post(self, namespace: str, resource: str, name: str, metric: str, value: str) -> None:
        """Set a metric of one object, such as ("ml", "pods", "inference-1", "request_queue_depth", "12").

        `value` is a Kubernetes quantity. Raises EnvironmentFailure when it is refused.
        """
        path = "/".join(quote(part, safe="") for part in ("namespaces", namespace, resource, name, metric))
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", f"/write-metrics/{path}", json.dumps(value), headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        except OSError as problem:
            raise EnvironmentFailure(f"the metrics adapter: {problem}", fix="install_posted again") from problem
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise EnvironmentFailure(
                f"the value {value} of {metric} was refused: {text}", fix="post a quantity like 12"
            )


def install_posted(cluster: Cluster, progress: Progress | None = None) -> Posts:
    """The custom metrics API (both versions) as one more process of the cluster, with values that are posted to it."""
    programs = binaries.ensure((binaries.CUSTOM_METRICS,), progress or Silent())
    found = record.load(cluster.state)
    if found is None:
        raise EnvironmentFailure(f"cluster {cluster.name} is gone", fix="headroom local up")
    posts = Posts(str(found.address), found.ports["custom-metrics-posts"])
    if processes.living(cluster.state, NAME) is None:
        _start(cluster, found, str(programs[NAME]), posts)
    applied = {}
    for version in VERSIONS:
        name = f"{version}.custom.metrics.k8s.io"
        for item in controlplane.aggregated_api(name, NAME, found.ports[NAME]):
            applied[str(item["kind"]), str(item["metadata"])] = item
    apply(cluster.state, cluster.kubectl, list(applied.values()))
    api = Api(cluster.server, cluster.state)
    parts.wait(
        lambda: api.ok("/apis/custom.metrics.k8s.io/v1beta2"),
        "the custom metrics API does not answer",
        "see the logs in the cluster's state folder",
    )
    return posts


def _start(cluster: Cluster, found: Record, program: str, posts: Posts) -> None:
    """Start the adapter beside the API server."""
    keys = cluster.state / "pki"
    config = pki.kubeconfig(cluster.state, found, "admin", cluster.context)
    argv = [
        program,
        f"--lister-kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--secure-port={found.ports[NAME]}",
        "--bind-address=127.0.0.1",
        f"--tls-cert-file={keys / 'server.crt'}",
        f"--tls-private-key-file={keys / 'server.key'}",
        f"--posts={posts.host}:{posts.port}",
    ]
    inside = processes.living(cluster.state, room.INIT)
    processes.start(cluster.state, NAME, argv, join=inside)
