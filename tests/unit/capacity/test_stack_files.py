"""The four stack files: their numbers, pinned. A change here is a change of what runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from headroom.capacity import demand, plan
from headroom.capacity.plan import Plan

ROOT = Path(__file__).parents[3]
Value = Callable[[Plan, str, str], int | float | str]


def _plan(stack: str) -> Plan:
    return plan.make(demand.load(stack, ROOT / f"Pulumi.{stack}.yaml"))


PINNED: dict[str, dict[str, dict[str, Any]]] = {
    "local": {
        "inference": {"replicasAtTarget": 2, "minReplicas": 2, "maxReplicas": 3, "cpuRequest": "250m"},
        "postgres": {"shards": 1, "nodes": 2, "volumeSize": "2Gi", "shared_buffers": "160Mi"},
        "pgbouncer": {"replicas": 1, "default_pool_size": 20},
        "redis": {"masters": 1, "replicasPerMaster": 2, "sentinels": 3, "maxmemory": "64Mi"},
        "h2o": {"nodes": 2, "heap": "1Gi", "containerMemory": "2Gi"},
        "total": {"monthlyCostAtMin": 0, "monthlyCostAtMax": 0},
    },
    "dev": {
        "inference": {"replicasAtTarget": 2, "minReplicas": 2, "maxReplicas": 3},
        "inferadb": {"minReplicas": 2, "maxReplicas": 3, "cacheCapacity": 1_000_000},
        "mage": {"replicasAtTarget": 1, "minReplicas": 2, "maxReplicas": 2},
        "postgres": {"shards": 1, "nodes": 2},
        "redis": {"masters": 1, "sentinels": 3},
        "h2o": {"nodes": 2, "heap": "10Gi", "containerMemory": "16Gi"},
    },
    "staging": {
        "inference": {"replicasAtTarget": 4, "minReplicas": 3, "maxReplicas": 6},
        "inferadb": {"replicasAtTarget": 4, "maxReplicas": 6, "requestsPerSecond": 3333},
        "postgres": {"shards": 2, "nodes": 4, "work_mem": "20Mi"},
        "redis": {"masters": 3},
        "h2o": {"nodes": 3, "heap": "20Gi", "containerMemory": "32Gi"},
    },
    "prod": {
        "inference": {"replicasAtTarget": 10, "minReplicas": 5, "maxReplicas": 15, "targetCPUUtilization": 70},
        "inferadb": {"replicasAtTarget": 20, "minReplicas": 10, "maxReplicas": 30, "cacheCapacity": 2_000_000},
        "mage": {"replicasAtTarget": 2, "maxReplicas": 3},
        "postgres": {
            "shards": 4,
            "nodes": 8,
            "volumeSize": "3992Gi",
            "shared_buffers": "4Gi",
            "effective_cache_size": "12Gi",
            "maintenance_work_mem": "1Gi",
            "work_mem": "40Mi",
        },
        "pgbouncer": {"replicas": 2, "default_pool_size": 20, "reserve_pool_size": 5, "max_client_conn": 1000},
        "redis": {"masters": 5, "maxmemory": "6Gi", "containerMemory": "8448Mi"},
        "h2o": {"nodes": 6, "heap": "40Gi", "containerMemory": "64Gi", "exportVolumeSize": "112Gi"},
        "total": {"monthlyCostAtMin": 7149.15, "monthlyCostAtMax": 8755.15},
    },
}


@pytest.mark.parametrize("stack", PINNED)
def test_numbers(stack: str, value: Value) -> None:
    made = _plan(stack)
    found = {c: {s: value(made, c, s) for s in settings} for c, settings in PINNED[stack].items()}
    assert found == PINNED[stack]


def test_local_fits_its_machine() -> None:
    """2 cores and 16 GiB, with room for what the cluster itself runs."""
    made = _plan("local")
    asked = next(line for line in made.lines if line.setting == "monthlyCostAtMax").because
    assert asked.startswith("(1.37 cores × $0 + 8.9238 GiB × $0)")
    assert [s.key for s in made.services] == ["inference"]
    assert made.services[0].autoscaling.source == "resource"


@pytest.mark.parametrize("stack", PINNED)
def test_every_line_has_its_reason(stack: str) -> None:
    made = _plan(stack)
    components = [*(s.key for s in made.services), "postgres", "pgbouncer", "redis", "h2o", "total"]
    assert list(dict.fromkeys(line.component for line in made.lines)) == components
    assert all(line.because and line.bound_by for line in made.lines)
    assert len({(line.component, line.setting) for line in made.lines}) == len(made.lines)
    assert not [w for w in made.warnings if "image" in w.message]


EXAMPLE = """
config:
  headroom:environment: prod
  headroom:namespace: ml-platform
  headroom:services:
    inference:
      preset: fastapi
      image: registry.example/inference:1.0.0
      demand: {targetRps: 1000, baselineRps: 500, latency: {p99: 50ms}}
      profile: {rpsPerPod: 100, serviceTime: 8ms, serviceTimeCv: 1, workerThreads: 4, cpu: "1", memory: 2Gi}
      safetyMargin: 1.5
      connectionsPerPod: 4
      autoscaling: {metrics: custom, cpuUtilization: 70, requestQueueDepth: 10}
    inferadb:
      preset: inferadb
      demand: {targetRps: 100000}
      profile: {rpsPerPod: 5000, cpu: "2", memory: 4Gi}
      safetyMargin: 1.5
      namespace: inferadb
    mage: {preset: mage, demand: {jobsPerHour: 1200, meanDuration: 90s, concurrency: 20}}
  headroom:postgres:
    demand: {dataset: 10TB, writesPerSecond: 50000, growth: 0.2}
    shard: {capacity: 3TB, writesPerSecond: 20000, cpu: "4", memory: 16Gi}
    replicationFactor: 2
    maxConnections: 100
  headroom:pgbouncer: {maxClientConn: 1000, defaultPoolSize: 20, reservePoolSize: 5}
  headroom:redis:
    mode: cluster
    demand: {dataset: 24GB, opsPerSecond: 200000}
    node: {maxmemory: 6Gi, opsPerSecond: 80000}
    replicasPerMaster: 1
  headroom:h2o: {demand: {dataset: 60GB}, node: {memory: 64Gi}, xgboost: false}
  headroom:nodes: {cpu: "16", memory: 128Gi, max: 60}
  headroom:prices: {cpuHour: 0.035, memoryGiBHour: 0.0045, volumeGiBMonth: 0.08}
"""


def test_the_example_of_the_docs(tmp_path: Path, value: Value) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(EXAMPLE)
    made = plan.make(demand.load("prod", file))
    found = {c: {s: value(made, c, s) for s in settings} for c, settings in PINNED["prod"].items()}
    assert found == PINNED["prod"]


def test_what_a_person_reads_is_what_pulumi_reads() -> None:
    """Another reader of YAML, and the JSON that Pulumi makes of it, give the same demand."""
    for stack in PINNED:
        file = ROOT / f"Pulumi.{stack}.yaml"
        other = yaml.safe_load(file.read_text())["config"]
        assert demand.from_config(stack, other) == demand.load(stack, file)


def test_a_thousand_services() -> None:
    service = {
        "preset": "fastapi",
        "image": "x:1",
        "demand": {"targetRps": 1000, "latency": {"p99": "50ms"}},
        "profile": {"rpsPerPod": 100, "serviceTime": "8ms"},
    }
    services = {f"service-{n}": {**service, "namespace": f"team-{n % 10}"} for n in range(1000)}
    made = plan.make(
        demand.from_config("many", {"environment": "prod", "services": services, "postgres": {"maxConnections": 2000}})
    )
    assert len(made.services) == 1000
    assert {s.max_replicas.value for s in made.services} == {15}
    assert len(made.namespaces) == 11
    # 1,000 × (15 + 4) × 4 connections, and a bouncer to spare.
    assert made.pgbouncer is not None and made.pgbouncer.replicas.value == 77
