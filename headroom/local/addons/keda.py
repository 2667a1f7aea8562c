"""KEDA from its own manifests: the operator and the external metrics API as pods, without the admission webhooks."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import yaml

from headroom.local import binaries
from headroom.local.addons import parts
from headroom.local.kube import Api, apply, kubectl
from headroom.local.model import Cluster
from headroom.progress import Progress, Silent, step

NAMESPACE = "keda"
BASES = ("crd", "general", "rbac", "manager", "metrics-server", "service_account")
# Which program runs in which Deployment, and where its manifest expects it.
PROGRAMS = {"keda-operator": ("operator", "/keda"), "keda-metrics-apiserver": ("adapter", "/keda-adapter")}
SIZE = {"requests": {"cpu": "25m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}}
"""The operator's 100m each would be a tenth of a machine of two cores."""


def install(cluster: Cluster, progress: Progress) -> None:
    """KEDA in namespace `keda`; external.metrics.k8s.io answers when this returns."""
    binaries.ensure((binaries.KEDA,), progress)
    with step(progress, "starting KEDA", "KEDA acts on ScaledObjects"):
        images = {
            name: parts.image(cluster, binaries.KEDA, program, path) for name, (program, path) in PROGRAMS.items()
        }
        objects = [fitted(item, images) for item in manifests(cluster, binaries.entry(binaries.KEDA) / "config")]
        kinds = [item for item in objects if item["kind"] in ("CustomResourceDefinition", "Namespace")]
        parts.put(cluster, kinds)
        parts.put(cluster, [item for item in objects if item not in kinds])
        # The adapter's pod waits for the certificates that the operator makes; the kubelet looks every two minutes.
        parts.await_deployments(cluster, NAMESPACE, seconds=300)
        api = Api(cluster.server, cluster.state)
        parts.wait(
            lambda: api.ok("/apis/external.metrics.k8s.io/v1beta1"),
            "external.metrics.k8s.io does not answer",
            "kubectl describe apiservice v1beta1.external.metrics.k8s.io",
        )


def manifests(cluster: Cluster, config: Path) -> list[dict[str, Any]]:
    """KEDA's own objects, put together by its own kustomizations."""
    with tempfile.TemporaryDirectory(prefix="headroom-") as folder:
        # Kustomize takes no folder by its absolute path.
        shutil.copytree(config, Path(folder) / "config")
        resources = {"resources": [f"config/{base}" for base in BASES]}
        (Path(folder) / "kustomization.yaml").write_text(json.dumps(resources))
        text = kubectl(cluster.state, cluster.kubectl, "kustomize", folder)
    return [item for item in yaml.safe_load_all(text) if item]


def fitted(item: dict[str, Any], images: dict[str, str]) -> dict[str, Any]:
    """The object as it is, but for a Deployment's image and size, and that its metrics are scraped."""
    if item["kind"] == "Deployment":
        template = item["spec"]["template"]
        template["metadata"]["annotations"] = {"prometheus.io/scrape": "true", "prometheus.io/port": "8080"}
        (container,) = template["spec"]["containers"]
        container["image"] = images[item["metadata"]["name"]]
        container["imagePullPolicy"] = "Never"
        container["resources"] = SIZE
    return item


def install_definitions(cluster: Cluster, progress: Progress | None = None) -> None:
    """Only its custom resource definitions: its objects are admitted, and nothing acts on them. For fake nodes."""
    binaries.ensure((binaries.KEDA_DEFINITIONS,), progress or Silent())
    definitions = binaries.entry(binaries.KEDA_DEFINITIONS) / "definitions"
    apply(cluster.state, cluster.kubectl, [], *sorted(definitions.glob("*.yaml")))
    api = Api(cluster.server, cluster.state)
    parts.wait(
        lambda: api.ok("/apis/keda.sh/v1alpha1/scaledobjects"),
        "KEDA's definitions are not served",
        "headroom local status",
    )
