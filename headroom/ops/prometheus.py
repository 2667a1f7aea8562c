"""Asks the cluster's Prometheus, through the API server's proxy: no address, no tunnel, only rights to the cluster.

Which Service is Prometheus is told by the labels that its usual installers set.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl, Manifest

INSTALLED_BY: tuple[tuple[str, Mapping[str, str]], ...] = (
    ("kube-prometheus-stack", {"app": "kube-prometheus-stack-prometheus"}),
    ("kube-prometheus", {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/part-of": "kube-prometheus"}),
    ("prometheus-operator", {"operated-prometheus": "true"}),
    ("the community's chart", {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/component": "server"}),
    ("the community's chart, before 20", {"app": "prometheus", "component": "server"}),
)
"""Installers and the labels of their Service, the surest first. The embedded cluster's own has those of the chart."""

_PORTS = ("http-web", "web", "http", "http-prometheus")
_FIX = (
    "on the embedded cluster: headroom local up --with monitoring; elsewhere install Prometheus, for example with the "
    "chart kube-prometheus-stack (docs/monitoring.md)"
)


@dataclass(frozen=True)
class Sample:
    """One series of an answer: its labels, and its value now (NaN and infinities as Prometheus gives them)."""

    labels: dict[str, str]
    value: float


@dataclass(frozen=True)
class Prometheus:
    """Where a Prometheus is: its Service, and the port's name or number."""

    namespace: str
    service: str
    port: str

    @property
    def proxy(self) -> str:
        """Its path at the API server."""
        return f"/api/v1/namespaces/{self.namespace}/services/{self.service}:{self.port}/proxy"


def query(kubectl: Kubectl, promql: str) -> list[Sample]:
    """The instant vector (or the scalar, as one sample without labels) that `promql` gives now; empty without series.

    Raises EnvironmentFailure where there is no Prometheus, it does not answer, or it refuses the query.
    """
    return ask(kubectl, find(kubectl), promql)


def ask(kubectl: Kubectl, prometheus: Prometheus, promql: str) -> list[Sample]:
    """As `query`, of a Prometheus that was found before: many questions then need one search."""
    path = f"{prometheus.proxy}/api/v1/query?query={quote(promql, safe='')}"
    done = kubectl.raw(path, timeout=30)
    if done.returncode != 0:
        raise EnvironmentFailure(
            f"Prometheus ({prometheus.namespace}/{prometheus.service}) does not answer: "
            f"{done.stderr.strip()[:300] or 'no reason given'}",
            fix=f"kubectl get pods,endpointslices -n {prometheus.namespace}",
        )
    return samples(done.stdout)


def find(kubectl: Kubectl) -> Prometheus:
    """The cluster's Prometheus. Raises EnvironmentFailure where there is none."""
    services = kubectl.get("services", "--all-namespaces")["items"]
    for _, wanted in INSTALLED_BY:
        for service in sorted(services, key=_place):
            labels = service["metadata"].get("labels") or {}
            if wanted.items() <= labels.items() and (port := _port(service)) is not None:
                return Prometheus(*_place(service), port)
    raise EnvironmentFailure("no Prometheus is found on this cluster", fix=_FIX)


def samples(text: str) -> list[Sample]:
    """The samples of an answer of `/api/v1/query`. Raises EnvironmentFailure for one that is none or says no."""
    try:
        answer: dict[str, Any] = json.loads(text)
        if answer["status"] != "success":
            raise EnvironmentFailure(f"Prometheus refuses the query: {answer.get('error', text[:300])}")
        kind, result = answer["data"]["resultType"], answer["data"]["result"]
        if kind == "scalar":
            return [Sample({}, float(result[1]))]
        if kind != "vector":
            raise EnvironmentFailure(f"Prometheus gives a {kind}, not a vector", fix="ask for one moment, not a range")
        return [Sample(dict(series["metric"]), float(series["value"][1])) for series in result]
    except (ValueError, KeyError, TypeError, IndexError) as problem:
        raise EnvironmentFailure(
            f"what answers as Prometheus is something else: {text[:120]!r}", fix="check which Service has its labels"
        ) from problem


def value(found: list[Sample]) -> float | None:
    """The one number of an answer; None where there is none, or it is not a number."""
    return None if not found or math.isnan(found[0].value) else found[0].value


def _place(service: Manifest) -> tuple[str, str]:
    return service["metadata"]["namespace"], service["metadata"]["name"]


def _port(service: Manifest) -> str | None:
    ports = service["spec"].get("ports") or []
    named = {port.get("name"): port for port in ports}
    chosen = next((named[name] for name in _PORTS if name in named), None)
    chosen = chosen or next((port for port in ports if port["port"] in (9090, 80)), None)
    return None if chosen is None else str(chosen.get("name") or chosen["port"])
