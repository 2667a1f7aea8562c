"""Finding a Prometheus by the labels of its installers, and reading its answers."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops import prometheus
from headroom.ops.prometheus import Sample


def service(namespace: str, name: str, labels: dict[str, str], *ports: tuple[str, int]) -> dict[str, Any]:
    listed = [{"name": port, "port": number} if port else {"port": number} for port, number in ports]
    return {"metadata": {"namespace": namespace, "name": name, "labels": labels}, "spec": {"ports": listed}}


STACK = service(
    "observability",
    "kps-kube-prometheus-stack-prometheus",
    {"app": "kube-prometheus-stack-prometheus"},
    ("http-web", 9090),
    ("reloader-web", 8080),
)
OPERATED = service("observability", "prometheus-operated", {"operated-prometheus": "true"}, ("web", 9090))
CHART = service(
    "monitoring",
    "prometheus-server",
    {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/component": "server"},
    ("http", 80),
)
OTHER = service("monitoring", "grafana", {"app.kubernetes.io/name": "grafana"}, ("http", 80))


class Recorded(Kubectl):
    """kubectl against a cluster with these Services, whose Prometheus gives this answer."""

    services: list[dict[str, Any]]
    answer: str
    asked: list[str]

    def run(self, *args: str, **_: Any) -> subprocess.CompletedProcess[str]:
        if args[:2] == ("get", "services"):
            return subprocess.CompletedProcess(args, 0, json.dumps({"items": self.services}), "")
        self.asked.append(args[2])
        return subprocess.CompletedProcess(args, 0 if self.answer else 1, self.answer, "" if self.answer else "refused")


def cluster(*services: dict[str, Any], answer: str = "") -> Recorded:
    made = Recorded(Path("kubectl"), Path("kubeconfig"))
    for name, value in {"services": list(services), "answer": answer, "asked": []}.items():
        object.__setattr__(made, name, value)
    return made


@pytest.mark.parametrize(
    ("services", "path"),
    [
        ([OTHER, STACK], "observability/services/kps-kube-prometheus-stack-prometheus:http-web"),
        ([OPERATED, STACK], "observability/services/kps-kube-prometheus-stack-prometheus:http-web"),
        ([OTHER, OPERATED], "observability/services/prometheus-operated:web"),
        ([OTHER, CHART], "monitoring/services/prometheus-server:http"),
    ],
)
def test_found_by_the_labels_of_its_installer(services: list[dict[str, Any]], path: str) -> None:
    assert prometheus.find(cluster(*services)).proxy == f"/api/v1/namespaces/{path}/proxy"


def test_a_port_without_a_name_is_taken_by_its_number() -> None:
    bare = service("m", "p", {"operated-prometheus": "true"}, ("", 9090))
    assert prometheus.find(cluster(bare)).port == "9090"


def test_none_says_how_to_get_one() -> None:
    with pytest.raises(EnvironmentFailure) as raised:
        prometheus.query(cluster(OTHER), "up")
    assert "headroom local up --with monitoring" in raised.value.fix


def test_series_with_their_labels() -> None:
    result = [{"metric": {"pod": "a"}, "value": [1.0, "2.5"]}, {"metric": {"pod": "b"}, "value": [1.0, "+Inf"]}]
    text = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})
    kubectl = cluster(CHART, answer=text)
    promql = 'sum by (pod) (rate(http_requests_total{namespace="ml"}[5m])) > 0'
    assert prometheus.query(kubectl, promql) == [Sample({"pod": "a"}, 2.5), Sample({"pod": "b"}, float("inf"))]
    assert unquote(kubectl.asked[0].partition("?query=")[2]) == promql
    assert " " not in kubectl.asked[0]


def test_one_number_or_none() -> None:
    scalar = json.dumps({"status": "success", "data": {"resultType": "scalar", "result": [1.0, "7"]}})
    assert prometheus.value(prometheus.samples(scalar)) == 7
    assert prometheus.value([]) is None
    assert prometheus.value([Sample({}, float("nan"))]) is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"status": "error", "error": "parse error at char 3"}', "parse error at char 3"),
        ('{"status": "success", "data": {"resultType": "matrix", "result": []}}', "matrix"),
        ("<html>Grafana</html>", "something else"),
    ],
)
def test_what_is_no_answer(text: str, words: str) -> None:
    with pytest.raises(EnvironmentFailure, match=words):
        prometheus.samples(text)


def test_one_that_does_not_answer_is_named() -> None:
    with pytest.raises(EnvironmentFailure, match="monitoring/prometheus-server"):
        prometheus.query(cluster(CHART), "up")
