"""Whether the cluster serves what a stack needs, asked before anything is applied."""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from headroom.engine import live
from headroom.engine.rendered import Manifest, Rendered
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl

CUSTOM_METRICS = "custom.metrics.k8s.io"
EXTERNAL_METRICS = "external.metrics.k8s.io"

_PROVIDERS = {
    "keda.sh": "KEDA (https://keda.sh/docs/latest/deploy/), or choose `autoscaling: {metrics: resource}`",
    "monitoring.coreos.com": "the Prometheus operator's custom resource definitions",
    CUSTOM_METRICS: "an adapter of custom metrics (prometheus-adapter), or choose `autoscaling: {metrics: resource}`",
    EXTERNAL_METRICS: "an adapter of external metrics, such as KEDA or prometheus-adapter",
    "snapshot.storage.k8s.io": "the CSI snapshot controller",
}
_METRICS = {"Pods": CUSTOM_METRICS, "Object": CUSTOM_METRICS, "External": EXTERNAL_METRICS}


def check(kubectl: Kubectl, rendered: Rendered) -> None:
    """Raises EnvironmentFailure that names everything missing, what needs it, and what to install."""
    missing = [*_kinds(kubectl, rendered), *_metrics(kubectl, rendered)]
    if missing:
        raise EnvironmentFailure(
            "the cluster lacks what this stack needs; nothing was applied:\n  - "
            + "\n  - ".join(f"{what}, needed by {by}" for what, by, _ in missing),
            fix="install " + "; ".join(sorted({fix for *_, fix in missing})),
        )


def _kinds(kubectl: Kubectl, rendered: Rendered) -> Iterable[tuple[str, str, str]]:
    versions = sorted({o.id.api_version for o in rendered.objects})
    with ThreadPoolExecutor(4) as pool:
        served = dict(zip(versions, pool.map(lambda v: live.served_kinds(kubectl, v), versions), strict=True))
    coming = {
        (o.manifest["spec"]["group"], o.manifest["spec"]["names"]["kind"])
        for o in rendered.objects
        if o.id.kind == "CustomResourceDefinition"
    }
    reported = set()
    for o in rendered.objects:
        what = f"{o.id.api_version} {o.id.kind}"
        if o.id.kind in served[o.id.api_version] or (o.id.group, o.id.kind) in coming or what in reported:
            continue
        reported.add(what)
        fix = _PROVIDERS.get(o.id.group, f"what serves {what}")
        yield f"the API {what}", str(o.id), fix


def _metrics(kubectl: Kubectl, rendered: Rendered) -> Iterable[tuple[str, str, str]]:
    needed: dict[str, str] = {}
    for o in rendered.objects:
        if o.id.kind == "HorizontalPodAutoscaler":
            for api in metric_apis(o.manifest):
                needed.setdefault(api, str(o.id))
    if not needed:
        return
    groups = {g["name"] for g in json.loads(kubectl.run("get", "--raw", "/apis").stdout)["groups"]}
    for api, by in needed.items():
        if api not in groups:
            yield f"the API {api}", by, _PROVIDERS[api]


def metric_apis(autoscaler: Manifest) -> set[str]:
    """The metrics APIs that an autoscaler reads, apart from that of CPU and memory."""
    metrics = (autoscaler.get("spec") or {}).get("metrics") or []
    return {_METRICS[m["type"]] for m in metrics if m.get("type") in _METRICS}
