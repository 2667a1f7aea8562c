"""What one pod carries, found on services whose capacity is known; the verdict on a reading; the profile in a file."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from headroom.capacity import demand, plan
from headroom.errors import EnvironmentFailure
from headroom.ops.load import Found, Reading, Shape, find, measure, misses, profile
from headroom.ops.load.find import EDGE, STEPS
from headroom.ops.load.reach import Used
from headroom.progress import Silent


def reading(rate: float, p99_ms: float = 10.0, **counts: float) -> Reading:
    accepted = round(rate * 10) - int(sum(counts.values()))
    base = Reading(rate, 10, accepted, 0, 0, 0, 0, 0, p99_ms / 3, p99_ms / 4, p99_ms / 2, p99_ms, p99_ms * 2, 0.5)
    return replace(base, **counts)  # type: ignore[arg-type]


@given(st.floats(30, 40_000))
def test_the_edge_is_found_within_its_width_and_few_runs(capacity: float) -> None:
    asked: list[float] = []

    def run(rate: float) -> Reading:
        asked.append(rate)
        return reading(rate, 10.0 if rate <= capacity else 500.0)

    found = find(run, 50.0)
    assert found.best.rate <= capacity < found.best.rate * EDGE
    assert len(asked) <= 1 + STEPS
    assert found.broke == ("the p99 is 500.0 ms, promised are 50 ms",)


def test_errors_break_it_too_and_without_a_promise_ten_times_the_rest_does() -> None:
    refused = find(lambda rate: reading(rate, refused=rate if rate > 100 else 0), None)
    assert 100 / EDGE < refused.best.rate <= 100
    slow = find(lambda rate: reading(rate, 10.0 if rate <= 300 else 40.0), None)
    quicker = find(lambda rate: reading(rate, 10.0 if rate <= 300 else 40.0), None, alone=lambda: reading(90.0, 3.6))
    assert (quicker.p99_ms, quicker.rest.rate) == (pytest.approx(12.0), 90.0)
    assert 300 / EDGE < quicker.best.rate <= 300
    assert slow.p99_ms == pytest.approx(10 * 10 / 3)
    assert 300 / EDGE < slow.best.rate <= 300


def test_a_service_that_does_not_hold_at_rest_is_told_with_what_helps() -> None:
    with pytest.raises(EnvironmentFailure, match="the p99 is 80") as slow:
        find(lambda rate: reading(rate, 80.0), 50.0)
    assert "verify" in slow.value.fix
    with pytest.raises(EnvironmentFailure, match="no request was accepted") as empty:
        find(lambda rate: Reading(rate, 10, 0, 0, 100, 0, 0, 0), 50.0)
    assert "features load" in empty.value.fix
    with pytest.raises(EnvironmentFailure) as gone:
        find(lambda rate: Reading(rate, 10, 0, 0, 0, 0, 100, 0), 50.0)
    assert "nothing answers" in gone.value.fix


def test_the_verdict() -> None:
    assert misses(reading(1000, 50.0), 50.0) == []
    assert misses(reading(1000, 5000.0), None) == []
    assert misses(reading(1000, 50.1), 50.0) == ["the p99 is 50.1 ms, promised are 50 ms"]
    assert misses(reading(1000, failed=10), 50.0) == []
    [failed] = misses(reading(1000, failed=11, refused=7), 50.0)
    assert failed.startswith("18 of 10,000 requests were not served (7 answered 503, 11 other failures)")
    unsent = misses(reading(1000, unsent=5000), 50.0)
    assert "5,000 not sent in time" in unsent[0]
    assert unsent[1] == "500 of 1,000 requests a second were served"


@pytest.mark.parametrize("cpu_time_s", [None, 0.0000684, 0.0125])
def test_the_profile_is_what_a_stack_file_takes(cpu_time_s: float | None) -> None:
    rest = replace(reading(10, 9.0), mean_ms=2.3456, cv=0.31415)
    text = profile("api", Found(rest, reading(1234.5), 50.0, ()), 3, cpu_time_s, 4)
    measured = yaml.safe_load(text)["profile"]
    assert measured["rpsPerPod"] == 411
    assert measured["serviceTime"] == "2.35ms"
    assert measured["serviceTimeCv"] == 0.31
    assert measured.get("cpuTime") == {None: None, 0.0000684: "68.4us", 0.0125: "12.5ms"}[cpu_time_s]
    service = {
        "preset": "fastapi",
        "image": "registry.example/api:1.0.0",
        "demand": {"targetRps": 1000, "latency": {"p99": "100ms"}},
        "profile": {**measured, "cpu": "1", "memory": "2Gi"},
        "autoscaling": {"metrics": "resource"},
    }
    config = {"environment": "dev", "namespace": "mine", "services": {"api": service}}
    [planned] = plan.make(demand.from_config("mine", config)).services
    assert planned.replicas_at_target.value >= 3
    assert planned.worker_threads is not None and planned.worker_threads.value == 4


class Pods:
    """A service of which one pod carries 100 requests a second, each for 2 ms of CPU beside a fixed second a run."""

    url = "http://service"

    def __init__(self, pods: list[int], *, told: bool = True) -> None:
        self.sent = self.runs = 0
        self._pods = pods
        self._told = told

    def pods(self) -> list[str]:
        return ["pod"] * (self._pods.pop(0) if len(self._pods) > 1 else self._pods[0])

    def used(self) -> Used | None:
        return Used(self.runs * 1.0 + self.sent * 0.002, self.sent) if self._told else None

    def run(self, url: str, shape: object, rate: float | None, *_: object, **__: object) -> Reading:
        assert url == self.url
        self.runs += 1
        if rate is None:
            return reading(50.0, 6.0)
        self.sent += int(rate * 10)
        return reading(rate, 10.0 if rate <= 100 else 500.0)


def test_cpu_time_is_that_at_the_best_rate_and_pods_are_watched() -> None:
    service = Pods([3, 3, 3, 4, 4])
    measured = measure(service, service, Shape("/x"), 50.0, Silent())  # type: ignore[arg-type]
    best = measured.found.best.rate
    assert 100 / EDGE < best <= 100
    assert measured.cpu_time_s == pytest.approx(0.002 + 1 / int(best * 10))
    assert measured.found.rest.mean_ms == 2.0, "the service time is that of a single client"
    assert (measured.fewest_pods, measured.most_pods) == (3, 4)
    assert len(measured.readings) == service.runs
    silent = Pods([0], told=False)
    assert measure(silent, silent, Shape("/x"), 50.0, Silent()).cpu_time_s is None  # type: ignore[arg-type]
