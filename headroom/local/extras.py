"""What some tests need on a cluster beyond a cluster: KEDA's definitions, and metrics whose values are posted.

Both are put on a running cluster, any number of times, and go with it.
"""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import quote

from headroom.errors import EnvironmentFailure
from headroom.local import binaries, controlplane, pki, processes, record, room
from headroom.local.kube import Api, apply
from headroom.local.model import Cluster
from headroom.local.record import Record
from headroom.progress import Progress, Silent


def install_keda_crds(cluster: Cluster, progress: Progress | None = None) -> None:
    """KEDA's custom resource definitions, without its operator: its objects are admitted, and nothing acts on them."""
    binaries.ensure((binaries.KEDA_DEFINITIONS,), progress or Silent())
    definitions = binaries.entry(binaries.KEDA_DEFINITIONS) / "definitions"
    apply(cluster.state, cluster.kubectl, [], *sorted(definitions.glob("*.yaml")))
    api = Api(cluster.server, cluster.state)
    wait(lambda: api.ok("/apis/keda.sh/v1alpha1/scaledobjects"), "KEDA's definitions are not served")


@dataclass(frozen=True)
class CustomMetrics:
    """The custom metrics API of a cluster, and the address that takes its values."""

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
            raise EnvironmentFailure(f"the metrics adapter: {problem}", fix="install_custom_metrics again") from problem
        finally:
            connection.close()
        if answer.status != HTTPStatus.OK:
            raise EnvironmentFailure(
                f"the value {value} of {metric} was refused: {text}", fix="post a quantity like 12"
            )


def install_custom_metrics(cluster: Cluster, progress: Progress | None = None) -> CustomMetrics:
    """The custom metrics API (custom.metrics.k8s.io, both versions) as one more process of the cluster."""
    programs = binaries.ensure((binaries.CUSTOM_METRICS,), progress or Silent())
    found = record.load(cluster.state)
    if found is None:
        raise EnvironmentFailure(f"cluster {cluster.name} is gone", fix="headroom local up")
    metrics = CustomMetrics(str(found.address), found.ports["custom-metrics-posts"])
    if processes.living(cluster.state, "custom-metrics") is None:
        start(cluster, found, str(programs["custom-metrics"]), metrics)
    objects = {}
    for version in ("v1beta1", "v1beta2"):
        name = f"{version}.custom.metrics.k8s.io"
        for item in controlplane.aggregated_api(name, "custom-metrics", found.ports["custom-metrics"]):
            objects[str(item["kind"]), str(item["metadata"])] = item
    apply(cluster.state, cluster.kubectl, list(objects.values()))
    api = Api(cluster.server, cluster.state)
    wait(lambda: api.ok("/apis/custom.metrics.k8s.io/v1beta2"), "the custom metrics API does not answer")
    return metrics


def start(cluster: Cluster, found: Record, program: str, metrics: CustomMetrics) -> None:
    """Start the adapter beside the API server."""
    keys = cluster.state / "pki"
    config = pki.kubeconfig(cluster.state, found, "admin", cluster.context)
    argv = [
        program,
        f"--lister-kubeconfig={config}",
        f"--authentication-kubeconfig={config}",
        f"--authorization-kubeconfig={config}",
        f"--secure-port={found.ports['custom-metrics']}",
        "--bind-address=127.0.0.1",
        f"--tls-cert-file={keys / 'server.crt'}",
        f"--tls-private-key-file={keys / 'server.key'}",
        f"--posts={metrics.host}:{metrics.port}",
    ]
    inside = processes.living(cluster.state, room.INIT)
    processes.start(cluster.state, "custom-metrics", argv, join=inside)


def wait(ready: Callable[[], bool], what: str) -> None:
    """Wait up to 30 s. Raises EnvironmentFailure."""
    deadline = time.monotonic() + 30
    while not ready():
        if time.monotonic() > deadline:
            raise EnvironmentFailure(what, fix="see the logs in the cluster's state folder")
        time.sleep(0.1)
