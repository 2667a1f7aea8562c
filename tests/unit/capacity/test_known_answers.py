"""The worked examples of the formulas, as literals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headroom.capacity.plan import Plan
from headroom.capacity.plan.model import ScalingPolicy

BATCHED = {"rpsPerPod": 400, "serviceTime": "8ms", "cpuTime": "8ms", "workerThreads": 4, "cpu": "1"}
MakePlan = Callable[..., Plan]
Value = Callable[[Plan, str, str], int | float | str]

INFERENCE = {
    "preset": "fastapi",
    "image": "registry.example/inference:1.0.0",
    "demand": {"targetRps": 1000, "baselineRps": 500, "latency": {"p99": "50ms"}},
    "profile": {
        "rpsPerPod": 100,
        "serviceTime": "8ms",
        "serviceTimeCv": 1,
        "workerThreads": 4,
        "cpu": "1",
        "memory": "2Gi",
    },
    "safetyMargin": 1.5,
}
INFERADB = {
    "preset": "inferadb",
    "demand": {"targetRps": 100000},
    "profile": {"rpsPerPod": 5000, "cpu": "2", "memory": "4Gi"},
    "safetyMargin": 1.5,
}
MAGE = {"preset": "mage", "demand": {"jobsPerHour": 1200, "meanDuration": "90s", "concurrency": 20}}
POSTGRES = {
    "demand": {"dataset": "10TB", "writesPerSecond": 50000, "growth": 0.2},
    "shard": {"capacity": "3TB", "writesPerSecond": 20000, "cpu": "4", "memory": "16Gi"},
    "replicationFactor": 2,
    "maxConnections": 100,
}


def test_inference(planned: MakePlan, value: Value) -> None:
    made = planned(services={"inference": INFERENCE})
    assert value(made, "inference", "replicasAtTarget") == 10
    assert value(made, "inference", "minReplicas") == 5
    assert value(made, "inference", "maxReplicas") == 15
    assert value(made, "inference", "targetCPUUtilization") == 70
    assert value(made, "inference", "workerThreads") == 4
    assert value(made, "inference", "queueLimit") == 40  # four times the ten that its autoscaler holds
    assert value(made, "inference", "predictedP99") == pytest.approx(37.2, abs=0.5)
    assert value(made, "inference", "cpuLimit") == "2"
    assert value(made, "inference", "memoryLimit") == "4Gi"
    assert value(made, "inference", "requestQueueDepth") == 10
    assert value(made, "inference", "terminationGracePeriodSeconds") == 80
    service = made.services[0]
    assert service.min_available is not None and service.min_available.value == 2


def test_inferadb(planned: MakePlan, value: Value) -> None:
    made = planned(services={"inferadb": INFERADB})
    assert value(made, "inferadb", "maxReplicas") == 30
    assert value(made, "inferadb", "replicasAtTarget") == 20
    assert value(made, "inferadb", "minReplicas") == 10
    assert value(made, "inferadb", "requestsPerSecond") == 3333
    assert value(made, "inferadb", "cacheCapacity") == 2_000_000
    assert value(made, "inferadb", "workerThreads") == 4
    assert value(made, "inferadb", "connectionsPerPod") == 0


def test_mage(planned: MakePlan, value: Value) -> None:
    made = planned(services={"mage": MAGE})
    assert value(made, "mage", "replicasAtTarget") == 2
    assert value(made, "mage", "maxReplicas") == 3
    assert value(made, "mage", "terminationGracePeriodSeconds") == 600
    assert value(made, "mage", "connectionsPerPod") == 2


@pytest.mark.parametrize(
    ("environment", "service", "expected"),
    [
        ("prod", {"preset": "fastapi"}, (3, 20, 70, ("request_queue_depth", 10))),
        ("prod", {"preset": "inferadb"}, (5, 50, 70, ("inferadb_requests_per_second", 1000))),
        ("prod", {"preset": "inferadb", "autoscaling": {"metrics": "resource"}}, (3, 20, 70, None)),
        ("local", {"preset": "mage"}, (1, 5, 70, None)),
    ],
)
def test_without_demand(
    planned: MakePlan, environment: str, service: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    scaling = planned(environment, services={"s": service}).services[0].autoscaling
    metric = (scaling.pods_metric.name, scaling.pods_metric.average.value) if scaling.pods_metric else None
    assert scaling.cpu_utilization is not None
    assert (scaling.min_replicas.value, scaling.max_replicas.value, scaling.cpu_utilization.value, metric) == expected
    assert scaling.scale_down == ScalingPolicy(window_seconds=300, percent=50, period_seconds=60)
    assert scaling.scale_up == ScalingPolicy(window_seconds=60, percent=100, period_seconds=30)


@pytest.mark.parametrize(
    ("tier", "target", "expected", "warned"),
    [
        ("light", 6000, (6, 3, 9, "500m", "512Mi"), ""),
        ("light", 8000, (8, 4, 10, "500m", "512Mi"), "the safety margin is not"),
        ("light", 12000, (12, 6, 10, "500m", "512Mi"), "2,000 rps are missed"),
        ("medium", 50000, (10, 5, 15, "1", "2Gi"), ""),
        ("heavy", 50000, (5, 10, 10, "2", "4Gi"), ""),
    ],
)
def test_tiers(planned: MakePlan, value: Value, tier: str, target: int, expected: tuple[Any, ...], warned: str) -> None:
    made = planned(services={"s": {"preset": "fastapi", "image": "x:1", "tier": tier, "demand": {"targetRps": target}}})
    settings = ("replicasAtTarget", "minReplicas", "maxReplicas", "cpuRequest", "memoryRequest")
    assert tuple(value(made, "s", setting) for setting in settings) == expected
    assert (
        [w.message for w in made.warnings if w.component == "s" and warned in w.message]
        if warned
        else not made.warnings
    )


@pytest.mark.parametrize(("pods", "p99"), [(19, 133.2), (25, 99.6)])
def test_separate_queues(planned: MakePlan, value: Value, pods: int, p99: float) -> None:
    service = {
        "preset": "fastapi",
        "image": "x:1",
        "demand": {"targetRps": 3000},
        "profile": {"rpsPerPod": f"{3000 / pods:.6f}", "serviceTime": "20ms", "workerThreads": 4},
    }
    made = planned(services={"s": service})
    assert value(made, "s", "replicasAtTarget") == pods
    assert value(made, "s", "predictedP99") == pytest.approx(p99, abs=0.1)


def test_latency_decides(planned: MakePlan, value: Value) -> None:
    service = {
        "preset": "fastapi",
        "image": "x:1",
        "demand": {"targetRps": 3000, "latency": {"p99": "100ms"}},
        "profile": {"rpsPerPod": 190, "serviceTime": "20ms", "workerThreads": 4},
    }
    made = planned(services={"s": service})
    assert value(made, "s", "replicasAtTarget") == 25
    assert value(made, "s", "maxReplicas") == 38
    assert made.services[0].replicas_at_target.bound_by == "latency"


def test_postgres(planned: MakePlan, value: Value) -> None:
    made = planned(postgres=POSTGRES)
    expected = {
        "shards": 4,
        "nodes": 8,
        "volumeSize": "3992Gi",
        "shared_buffers": "4Gi",
        "effective_cache_size": "12Gi",
        "maintenance_work_mem": "1Gi",
        "work_mem": "40Mi",
        "max_slot_wal_keep_size": "408780Mi",
        "sharedMemory": "1Gi",
        "max_connections": 100,
        "buckets": 256,
    }
    assert {setting: value(made, "postgres", setting) for setting in expected} == expected


def test_pgbouncer(planned: MakePlan, value: Value) -> None:
    made = planned(services={"inference": INFERENCE}, postgres=POSTGRES)
    expected = {
        "replicas": 2,
        "max_client_conn": 1000,
        "default_pool_size": 20,
        "reserve_pool_size": 5,
        "max_db_connections": 26,
    }
    assert {setting: value(made, "pgbouncer", setting) for setting in expected} == expected


@pytest.mark.parametrize(
    ("redis", "expected"),
    [
        (
            {
                "mode": "cluster",
                "demand": {"dataset": "24GB", "opsPerSecond": 200000},
                "node": {"maxmemory": "6Gi", "opsPerSecond": 80000},
            },
            {"masters": 5, "maxmemory": "6Gi", "containerMemory": "8448Mi", "volumeSize": "12Gi"},
        ),
        (
            {"demand": {"dataset": "1GB"}, "node": {"maxmemory": "3Gi"}},
            {"masters": 1, "replicasPerMaster": 2, "sentinels": 3, "quorum": 2, "containerMemory": "4608Mi"},
        ),
        ({"mode": "cluster"}, {"masters": 3, "replicasPerMaster": 1, "maxmemoryPolicy": "allkeys-lru"}),
        ({"durable": True}, {"maxmemoryPolicy": "noeviction"}),
    ],
)
def test_redis(planned: MakePlan, value: Value, redis: dict[str, Any], expected: dict[str, Any]) -> None:
    made = planned(redis=redis)
    assert {setting: value(made, "redis", setting) for setting in expected} == expected


@pytest.mark.parametrize(
    ("memory", "xgboost", "heap", "native"),
    [
        ("16Gi", False, "10Gi", "6Gi"),
        ("32Gi", False, "20Gi", "12Gi"),
        ("64Gi", False, "40Gi", "24Gi"),
        ("16Gi", True, "8Gi", "8Gi"),
    ],
)
def test_h2o_heap(planned: MakePlan, value: Value, memory: str, xgboost: bool, heap: str, native: str) -> None:
    made = planned(h2o={"node": {"memory": memory}, "xgboost": xgboost})
    assert value(made, "h2o", "heap") == heap
    assert value(made, "h2o", "nativeMemory") == native
    assert value(made, "h2o", "nodes") == 3
    assert value(made, "h2o", "memoryLimit") == memory
    assert value(made, "h2o", "cpuLimit") == value(made, "h2o", "cpuRequest") == "4"
    assert [w for w in made.warnings if "compressed object" in w.message] if heap == "40Gi" else True


def test_h2o_nodes(planned: MakePlan, value: Value) -> None:
    made = planned(h2o={"demand": {"dataset": "60GB"}, "node": {"memory": "64Gi"}})
    assert value(made, "h2o", "nodes") == 6
    assert value(made, "h2o", "exportVolumeSize") == "112Gi"
    assert value(made, "h2o", "scratchSize") == "43Gi"


def test_growth(planned: MakePlan, value: Value) -> None:
    service = {**INFERENCE, "demand": {"targetRps": 50, "growth": 0.1}, "profile": {"rpsPerPod": 1}}
    now, later = planned(services={"s": service}), planned(months=12, services={"s": service})
    assert value(now, "s", "replicasAtTarget") == 50
    # 50 × 1.1 is 55 exactly: one pod more would be a float's.
    assert value(later, "s", "replicasAtTarget") == 55
    assert value(planned(months=24, services={"s": service}), "s", "replicasAtTarget") == 61
    assert value(planned(months=6, services={"s": service}), "s", "replicasAtTarget") == 53
    assert value(planned(months=12, postgres=POSTGRES), "postgres", "shards") == 4
    assert value(planned(months=24, postgres=POSTGRES), "postgres", "shards") == 5


def test_exact_decimals(planned: MakePlan, value: Value) -> None:
    """10 rps in pods of a third of one, by floats, is 31."""
    service = {"preset": "fastapi", "image": "x:1", "demand": {"targetRps": 0.3}, "profile": {"rpsPerPod": 0.1}}
    made = planned(services={"s": {**service, "safetyMargin": 1, "minAvailable": 0}})
    assert value(made, "s", "replicasAtTarget") == 3
    assert value(made, "s", "maxReplicas") == 3


def test_cpu_target_is_lowered_for_the_latency(planned: MakePlan, value: Value) -> None:
    service = {
        "preset": "fastapi",
        "image": "x:1",
        "demand": {"targetRps": 300, "latency": {"p99": "60ms"}},
        "profile": {"rpsPerPod": 40, "serviceTime": "10ms", "cpuTime": "10ms", "cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "1"},
    }
    made = planned(services={"s": service})
    assert value(made, "s", "servingThreads") == 1
    # One thread at rate 100 u: p99 = 10 ms × ln 100 / (1 - u) ≤ 60 ms up to u = 0.23, below the least of 30.
    assert value(made, "s", "targetCPUUtilization") == 30
    assert any("over the 60 ms" in w.message for w in made.warnings)
    # At 100 ms it holds up to u = 0.539.
    made = planned(services={"s": {**service, "demand": {"targetRps": 300, "latency": {"p99": "100ms"}}}})
    assert value(made, "s", "targetCPUUtilization") == 50
    assert value(made, "s", "maxReplicas") == 12
    # 300 rps × 10 ms / (1 core × 0.5) = 6 pods; a maximum below that is warned of.
    cheap = {**service, "profile": {**service["profile"], "rpsPerPod": 90}, "demand": {"targetRps": 300}}  # type: ignore[dict-item]
    made = planned(services={"s": {**cheap, "safetyMargin": 1, "autoscaling": {"cpuUtilization": 40}}})
    assert any("wants 8 pods" in w.message and "maxReplicas is 4" in w.message for w in made.warnings)


def test_cost(planned: MakePlan, value: Value) -> None:
    prices = {"cpuHour": 0.1, "memoryGiBHour": 0.01, "volumeGiBMonth": 0.5}
    made = planned(services={"inference": INFERENCE}, prices=prices)
    # 5 and 15 pods of 1 core and 2 GiB, 730 hours.
    assert value(made, "total", "monthlyCostAtMin") == 438
    assert value(made, "total", "monthlyCostAtMax") == 1314


def test_canary(planned: MakePlan) -> None:
    for weight, pods in ((0, 1), (0.04, 1), (0.25, 3), (0.5, 5), (1, 10)):
        made = planned(services={"s": {**INFERENCE, "canary": {"image": "x:2", "weight": weight}}})
        assert made.services[0].canary is not None
        assert made.services[0].canary.replicas.value == pods


@pytest.mark.parametrize(
    ("changed", "limit", "bound"),
    [
        ({"autoscaling": {"metrics": "resource"}}, 10, "latency"),  # 2 cores × 1 / 8 ms × 50 ms - 2 in threads
        (
            {"autoscaling": {"metrics": "resource"}, "demand": {"targetRps": 100, "latency": {"p99": "1s"}}},
            248,
            "latency",
        ),
        ({"autoscaling": {"metrics": "resource"}, "profile": BATCHED}, 18, "latency"),
        ({"autoscaling": {"metrics": "custom", "requestQueueDepth": 2}}, 10, "latency"),
        ({"autoscaling": {"metrics": "custom", "requestQueueDepth": 3}}, 12, "autoscaling"),
        ({"demand": {"targetRps": 1000}}, 100, "default"),
        ({"override": {"queueLimit": {"value": 7, "because": "answers of minutes"}}}, 7, "override"),
    ],
)
def test_queue_limit(planned: MakePlan, changed: dict[str, Any], limit: int, bound: str) -> None:
    """What a pod answers within the p99, without those in its threads; an autoscaler on the queue may want more."""
    measured = {**INFERENCE["profile"], "cpuTime": "8ms"}
    made = planned(services={"s": {**INFERENCE, "profile": measured, **changed}})
    [line] = [line for line in made.lines if line.setting == "queueLimit"]
    assert (line.value, line.bound_by) == (limit, bound)


def test_emergency(planned: MakePlan, value: Value) -> None:
    made = planned(services={"s": {**INFERENCE, "emergencyReplicas": {"value": 30, "because": "incident 12"}}})
    assert (value(made, "s", "minReplicas"), value(made, "s", "maxReplicas")) == (30, 30)
    assert made.services[0].min_replicas.bound_by == "emergency"
    assert "incident 12" in made.services[0].min_replicas.because
    made = planned(services={"s": {**INFERENCE, "emergencyReplicas": {"value": 8, "because": "incident 12"}}})
    assert (value(made, "s", "minReplicas"), value(made, "s", "maxReplicas")) == (8, 15)


def test_override(planned: MakePlan, value: Value) -> None:
    made = planned(services={"s": {**INFERENCE, "override": {"maxReplicas": {"value": 30, "because": "launch day"}}}})
    assert value(made, "s", "maxReplicas") == 30
    line = next(line for line in made.lines if line.setting == "maxReplicas")
    assert line.bound_by == "override" and line.because == "launch day (computed: 15)"
    made = planned(postgres={**POSTGRES, "override": {"work_mem": {"value": "64Mi", "because": "big sorts"}}})
    assert value(made, "postgres", "work_mem") == "64Mi"
    made = planned(h2o={"node": {"memory": "64Gi"}, "override": {"heap": {"value": "30Gi", "because": "pointers"}}})
    assert value(made, "h2o", "heap") == "30Gi" and not [w for w in made.warnings if "compressed" in w.message]
