"""Counters of pods, what happened between two looks, and when that is worse."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from headroom.capacity import demand, plan
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.ops.canary.verdict import judge, weight
from headroom.ops.signals import Counters, Limits, Reading, Watcher, between, broken, counted, worse

ROOT = Path(__file__).resolve().parents[3]

INF = float("inf")


def reading(requests: float, errors: float = 0, p99_s: float = 0.01) -> Reading:
    """Requests that all take just under `p99_s`, in one bucket."""
    return Reading(requests, errors, {p99_s: requests, INF: requests})


def test_a_pod_that_began_anew_is_counted_from_zero() -> None:
    before = {"a": Counters(100, 5, {0.1: 90, INF: 100}), "b": Counters(50, 0, {})}
    after = {"a": Counters(10, 1, {0.1: 9, INF: 10}), "b": Counters(70, 0, {}), "c": Counters(5, 5, {})}
    seen = between(before, after, after)
    assert (seen.requests, seen.errors) == (10 + 20 + 5, 1 + 0 + 5)
    assert between(before, after, ["b"]).requests == 20
    assert between(before, after, ["gone"]).requests == 0


def test_probes_and_scrapes_are_no_requests() -> None:
    samples = [
        ("http_requests_total", {"path": "/predict", "status": "200"}, 7.0),
        ("http_requests_total", {"path": "/predict", "status": "503"}, 2.0),
        ("http_requests_total", {"path": "/health/ready", "status": "503"}, 90.0),
        ("http_requests_total", {"path": "/metrics", "status": "200"}, 90.0),
        ("http_request_duration_seconds_bucket", {"path": "/predict", "le": "0.1"}, 8.0),
        ("http_request_duration_seconds_bucket", {"path": "/health/live", "le": "0.1"}, 80.0),
        ("http_request_duration_seconds_bucket", {"path": "/predict", "le": "+Inf"}, 9.0),
        ("another_total", {"path": "/predict"}, 9.0),
    ]
    assert counted(samples, "http_requests_total", "http_request_duration_seconds") == Counters(9, 2, {0.1: 8, INF: 9})


@pytest.mark.parametrize(
    ("buckets", "p99"),
    [
        ({}, None),
        ({0.1: 0, INF: 0}, None),
        ({0.1: 100, INF: 100}, 99.0),  # linear inside its bucket
        ({0.1: 98, 0.2: 100, INF: 100}, 150.0),
        ({0.1: 50, 0.2: 50, INF: 100}, 200.0),  # beyond the last bound: that bound
    ],
)
def test_the_percentile_is_that_of_prometheus(buckets: dict[float, float], p99: float | None) -> None:
    assert Reading(100, 0, buckets).p99_ms == (None if p99 is None else pytest.approx(p99))


@pytest.mark.parametrize(
    ("known", "seen", "word"),
    [
        (reading(1000), reading(1000), ""),
        (reading(1000, 1), reading(100, 2), ""),  # two errors are no trend
        (reading(1000, 1), reading(100, 3), "error rate 3 % against 0.1 %"),
        (reading(1000, 50), reading(1000, 90), ""),  # not twice
        (reading(1000, 50), reading(1000, 110), "error rate"),
        (reading(100000, 10), reading(100000, 100), ""),  # ten times, and far under a point
        (reading(1000, 0, 0.05), reading(1000, 0, 0.08), "p99 79.2 ms against 49.5 ms"),
        (reading(1000, 0, 0.005), reading(1000, 0, 0.015), ""),  # three times, and ten milliseconds
        (reading(1000, 0, 0.05), reading(49, 0, 0.5), ""),  # too few to speak of a percentile
        (reading(0), reading(1000, 0, 0.5), ""),
        (reading(0), reading(10, 5), "error rate 50 % against 0 %"),
        (reading(10), reading(10, 10), "error rate 100 % against 0 %"),
    ],
)
def test_worse_is_a_clear_difference_only(known: Reading, seen: Reading, word: str) -> None:
    found = worse(known, seen, Limits())
    assert found.startswith(word) and bool(found) == bool(word)


def test_a_canary_is_well_only_when_enough_was_seen() -> None:
    assert judge(reading(1000), reading(100), "").word == "well"
    assert judge(reading(1000), reading(49), "").word == "unknown"
    assert judge(reading(10), reading(1000), "").word == "unknown"
    assert judge(reading(1000), reading(100, 50), "").word == "worse"
    assert judge(reading(1000), reading(1000), "pod x: CrashLoopBackOff").reason == "pod x: CrashLoopBackOff"


def pod(**status: Any) -> dict[str, Any]:
    return {"metadata": {"name": "p"}, "status": {"containerStatuses": [{"name": "c", **status}]}}


@pytest.mark.parametrize(
    ("status", "hopeless"),
    [
        ({"state": {"running": {}}}, False),
        ({"state": {"waiting": {"reason": "ContainerCreating"}}}, False),
        ({"state": {"waiting": {"reason": "ErrImagePull", "message": "no such host"}}}, True),
        ({"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 1}, True),
        ({"state": {"running": {}}, "restartCount": 1}, False),
        ({"state": {"running": {}}, "restartCount": 2}, True),
    ],
)
def test_what_waiting_does_not_mend(status: dict[str, Any], hopeless: bool) -> None:
    assert bool(broken([pod(**status)])) is hopeless


@pytest.mark.parametrize(("text", "share"), [("10%", "0.1"), ("0.25", "0.25"), (" 1 %", "0.01")])
def test_a_weight_is_a_share(text: str, share: str) -> None:
    assert str(weight(text)) == share


@pytest.mark.parametrize("text", ["0", "100%", "1", "-5%", "ten", "nan", "inf", ""])
def test_and_nothing_else(text: str) -> None:
    with pytest.raises(InputError, match="above 0 and below 1"):
        weight(text)


@dataclass(frozen=True)
class Told(Kubectl):
    """A cluster with one Prometheus, or without, and pods; what is asked of them is answered from here."""

    prometheus: bool = True
    series: tuple[dict[str, str], ...] = ()
    metrics: str = ""
    hung: str = ""

    def get(self, *args: str, timeout: float = 60) -> dict[str, Any]:
        if args[0] == "services":
            labels = {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/component": "server"}
            metadata = {"name": "prom", "namespace": "monitoring", "labels": labels}
            service = {"metadata": metadata, "spec": {"ports": [{"name": "http", "port": 80}]}}
            return {"items": [service] if self.prometheus else []}
        ready = {"conditions": [{"type": "Ready", "status": "True"}]}
        names = ["inference-1-a", *([self.hung] if self.hung else [])]
        return {"items": [{"metadata": {"name": name}, "status": ready} for name in names]}

    def raw(self, path: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        if self.hung and f"pods/{self.hung}:" in path:
            raise EnvironmentFailure("kubectl get got no answer within 20 s")
        if "pods/inference-1-a:8080/proxy/metrics" in path:
            return subprocess.CompletedProcess([], 0 if self.metrics else 1, self.metrics, "")
        counter = "http_requests_total" in path
        found = [{"metric": m, "value": [0, "7"]} for m in self.series if ("le" not in m) == counter]
        answer = {"status": "success", "data": {"resultType": "vector", "result": found}}
        return subprocess.CompletedProcess([], 0, json.dumps(answer), "")


SERVICE = next(s for s in plan.make(demand.load("local", ROOT / "Pulumi.local.yaml")).services if s.key == "inference")
TEXT = """\
# TYPE http_requests_total counter
http_requests_total{method="POST",path="/predict",status="200"} 5.0
http_requests_total{method="POST",path="/predict",status="500"} 1.0
# TYPE http_request_duration_seconds histogram
http_request_duration_seconds_bucket{le="0.1",method="POST",path="/predict"} 6.0
http_request_duration_seconds_bucket{le="+Inf",method="POST",path="/predict"} 6.0
http_request_duration_seconds_count{method="POST",path="/predict"} 6.0
http_request_duration_seconds_sum{method="POST",path="/predict"} 0.1
"""


def door(**more: Any) -> Told:
    return Told(Path("kubectl"), Path("kubeconfig"), **more)


def test_prometheus_is_asked_where_it_knows_the_pods() -> None:
    series = (
        {"pod": "inference-1-a", "path": "/predict", "status": "200"},
        {"pod": "inference-1-a", "path": "/predict", "status": "503"},
        {"pod": "inference-1-a", "path": "/predict", "le": "+Inf"},
    )
    watcher = Watcher.of(door(series=series, metrics=TEXT), SERVICE)
    assert watcher.look() == {"inference-1-a": Counters(14, 7, {INF: 7})}
    assert "Prometheus has (monitoring/prom)" in watcher.told()


@pytest.mark.parametrize("prometheus", [True, False])
def test_else_the_pods_themselves(prometheus: bool) -> None:
    watcher = Watcher.of(door(prometheus=prometheus, metrics=TEXT), SERVICE)
    assert watcher.look() == {"inference-1-a": Counters(6, 1, {0.1: 6, INF: 6})}
    assert "read from the pods" in watcher.told()


def test_a_pod_that_hangs_is_named_and_hides_no_other() -> None:
    heard = Watcher.of(door(prometheus=False, metrics=TEXT, hung="inference-1-b"), SERVICE).heard()
    assert heard.counters == {"inference-1-a": Counters(6, 1, {0.1: 6, INF: 6})}
    assert heard.silent == {"inference-1-b": "its metrics: kubectl get got no answer within 20 s"}


def test_blind_it_says_so() -> None:
    watcher = Watcher.of(door(prometheus=False), SERVICE)
    assert watcher.look() == {}
    assert "neither Prometheus nor the pods" in watcher.told()
