"""Plans that cannot work are refused with the key and the number that would work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headroom.capacity.plan import Plan
from headroom.errors import InputError

Refused = Callable[..., InputError]
MakePlan = Callable[..., Plan]


def _service(**changes: Any) -> dict[str, Any]:
    base = {
        "preset": "fastapi",
        "image": "x:1",
        "demand": {"targetRps": 1000, "latency": {"p99": "50ms"}},
        "profile": {"rpsPerPod": 100, "serviceTime": "8ms", "workerThreads": 4, "cpu": "1", "memory": "2Gi"},
    }
    return {"s": {**base, **changes}}


def _why(value: Any) -> dict[str, Any]:
    return {"value": value, "because": "a test"}


def _sla(p99: str, **profile: Any) -> dict[str, Any]:
    measured = {"rpsPerPod": 100, "serviceTime": "8ms", "workerThreads": 4, **profile}
    return _service(demand={"targetRps": 1000, "latency": {"p99": p99}}, profile=measured)


SHARD = {"capacity": "3TB", "writesPerSecond": 20000, "cpu": "4", "memory": "16Gi"}
STORE = {"demand": {"dataset": "10TB", "writesPerSecond": 50000}, "shard": SHARD}
NODES = {"cpu": "16", "memory": "64Gi"}

S = "headroom:services.s"


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"services": _sla("36ms")},
            [f"{S}.demand.latency.p99 is 36 ms", "infeasible at any replica count", "36.84 ms", "41ms"],
        ),
        ({"services": _sla("8ms", serviceTimeCv=0.5)}, ["infeasible at any replica count", "20.09 ms"]),
        ({"services": _sla("7ms", serviceTimeCv=0)}, ["infeasible at any replica count", "8 ms"]),
        ({"services": _sla("36.8414ms", workerThreads=1)}, ["so near the floor"]),
        (
            {"services": _service(demand={"targetRps": 1000}, profile={"rpsPerPod": 500, "serviceTime": "8ms"})},
            [f"{S}.profile.rpsPerPod lets each of 2 pods take 500 rps", "250 at most", "ρ = 2"],
        ),
        (
            {"services": _service(override={"minReplicas": _why(20), "maxReplicas": _why(12)})},
            [f"{S}.override leaves minReplicas 20", "above maxReplicas 12", "at least 20"],
        ),
        (
            {"services": _service(override={"maxReplicas": _why(9)})},
            [f"{S}.override.maxReplicas.value is 9", "takes 10 pods", "fix: 10 or more"],
        ),
        (
            {"services": _service(emergencyReplicas=_why(4))},
            [f"{S}.emergencyReplicas.value is 4", "minReplicas is 5 already", "5 or more"],
        ),
        (
            {"services": _service(service={"loadBalancer": {"maxRps": 999}})},
            [f"{S}.service.loadBalancer.maxRps is 999, below the target of 1,000 rps", "at most 999"],
        ),
        (
            {"services": _service(drain={"preStop": "10s", "timeout": "60s", "gracePeriod": "79s"})},
            [f"{S}.drain.gracePeriod is 79 s", "80s or more"],
        ),
        (
            {"services": _service(limits={"cpu": "500m"})},
            [f"{S}.limits.cpu is 500m, below the request of 1", "at least 1"],
        ),
        ({"services": _service(limits={"memory": "1Gi"})}, [f"{S}.limits.memory is 1Gi", "at least 2Gi"]),
        (
            {
                "services": _service(
                    autoscaling={
                        "metrics": "keda",
                        "prometheusAddress": "http://p:9090",
                        "schedule": [{"start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": 16}],
                    }
                )
            },
            [f"{S}.autoscaling.schedule[0].minReplicas is 16, above maxReplicas 15", "at most 15"],
        ),
        (
            {"services": _service(demand={"targetRps": 10**9})},
            [f"{S}.demand.targetRps asks for 1,000,000,000", "10,000,000 pods"],
        ),
        (
            {"services": _service(), "nodes": {"cpu": "500m", "memory": "64Gi"}},
            ["headroom:nodes have 500m", "a pod of s asks"],
        ),
        ({"services": _service(), "nodes": {**NODES, "max": 0}}, ["headroom:nodes.max is 0: must be at least 1"]),
        (
            {"services": _service(), "h2o": {"node": {"memory": "64Gi"}}, "nodes": NODES},
            ["headroom:nodes have 16 cores and 64Gi; a pod of h2o asks for"],
        ),
        (
            {"services": _service(), "redis": {"mode": "cluster"}, "nodes": {"cpu": "8", "memory": "8Gi", "max": 4}},
            ["headroom:nodes.max is 4", "most of it for s (15 pods)", "fix: 5 nodes or more"],
        ),
        (
            {"postgres": {**STORE, "override": {"shards": _why(3)}}},
            ["headroom:postgres.override.shards.value is 3, and the data needs 4", "fix: 4 or more"],
        ),
        (
            {"postgres": {"demand": {"dataset": "1000TB"}, "shard": SHARD}},
            ["headroom:postgres.demand needs 334 shards", "256 buckets"],
        ),
        (
            {"postgres": {**STORE, "override": {"volumeSize": _why("100Gi")}}},
            ["headroom:postgres.override.volumeSize.value is 100Gi", "3327Gi or more"],
        ),
        (
            {"postgres": {**STORE, "override": {"shared_buffers": _why("16Gi")}}},
            ["headroom:postgres.override gives shared_buffers 16Gi", "over the memory 16Gi"],
        ),
        (
            {"postgres": {**STORE, "maxConnections": 20}},
            ["headroom:postgres.maxConnections is 20", "fix: give postgres.maxConnections: 27"],
        ),
        (
            {"postgres": STORE, "pgbouncer": {"override": {"default_pool_size": _why(40)}}},
            ["headroom:pgbouncer.override.default_pool_size.value is 40", "150 connections a shard", "at most 28"],
        ),
        (
            {
                "services": _service(connectionsPerPod=200),
                "postgres": STORE,
                "pgbouncer": {"override": {"replicas": _why(2)}},
            },
            ["headroom:pgbouncer.override.replicas.value is 2", "3,800 clients", "fix: 5 or more"],
        ),
        (
            {"postgres": STORE, "pgbouncer": {"override": {"max_db_connections": _why(5)}}},
            ["headroom:pgbouncer.override.max_db_connections.value is 5", "21 or more"],
        ),
        (
            {"redis": {"demand": {"dataset": "24GB"}, "node": {"maxmemory": "6Gi"}}},
            ["headroom:redis.mode is 'sentinel'", "use mode: cluster", "27466Mi"],
        ),
        (
            {"redis": {"demand": {"dataset": "1MB", "opsPerSecond": 10**6}}},
            ["headroom:redis.mode", "use mode: cluster"],
        ),
        (
            {"redis": {"override": {"masters": _why(2)}}},
            ["headroom:redis.override.masters.value is 2", "use mode: cluster"],
        ),
        (
            {"redis": {"mode": "cluster", "override": {"masters": _why(2)}}},
            ["headroom:redis.override.masters.value is 2", "fix: 3 or more"],
        ),
        (
            {
                "redis": {
                    "mode": "cluster",
                    "demand": {"dataset": "24GB"},
                    "node": {"maxmemory": "6Gi"},
                    "override": {"masters": _why(4)},
                }
            },
            ["headroom:redis.override.masters.value is 4, and the demand needs 5", "fix: 5 or more"],
        ),
        (
            {"redis": {"mode": "cluster", "demand": {"dataset": "900TB"}, "node": {"maxmemory": "1Gi"}}},
            ["headroom:redis.demand needs 1,005,", "16,384 slots"],
        ),
        (
            {"redis": {"node": {"maxmemory": "6Gi"}, "override": {"containerMemory": _why("6Gi")}}},
            ["headroom:redis.override.containerMemory.value is 6Gi", "fix: 8704Mi or more"],
        ),
        ({"h2o": {"node": {"memory": "1Gi"}}}, ["headroom:h2o.node.memory is 1Gi", "fix: 2Gi or more"]),
        (
            {"h2o": {"node": {"memory": "16Gi"}, "override": {"heap": _why("15Gi")}}},
            ["headroom:h2o.override.heap.value is 15Gi", "at most 12Gi"],
        ),
        (
            {"h2o": {"node": {"memory": "16Gi"}, "xgboost": True, "override": {"heap": _why("10Gi")}}},
            ["headroom:h2o.override.heap.value is 10Gi", "at most 8Gi"],
        ),
        (
            {"h2o": {"demand": {"dataset": "60GB"}, "node": {"memory": "64Gi"}, "override": {"nodes": _why(5)}}},
            ["headroom:h2o.override.nodes.value is 5, which hold a data set of 53.687 GB", "fix: 6 or more"],
        ),
        (
            {"h2o": {"demand": {"dataset": "60GB"}, "exportVolume": {"size": "50Gi"}}},
            ["headroom:h2o.exportVolume.size is 50Gi", "112Gi is safe"],
        ),
    ],
)
def test_refused(refused: Refused, parts: dict[str, Any], words: list[str]) -> None:
    error = refused(**parts)
    assert all(word in str(error) for word in words), str(error)
    assert error.fix or "must be" in error.message


def test_too_many_clients_says_how_many_replicas_work(refused: Refused, planned: MakePlan) -> None:
    services = {
        "s": {"preset": "fastapi", "image": "x:1", "connectionsPerPod": 200, "override": {"maxReplicas": _why(60)}}
    }
    postgres = {"demand": {"dataset": "1TB"}, "maxConnections": 60}
    error = refused(services=services, postgres=postgres)
    assert "headroom:postgres.maxConnections is 60" in str(error)
    # 60 - 12 reserved = 48; pools of 2 + 2 + 1: 7 + 2 bouncers; 6 × 1000 clients / 200 = 30 pods = 24 + 25 %.
    assert "the largest maxReplicas of s that works is 24" in str(error)
    services["s"]["override"] = {"maxReplicas": _why(24)}
    assert planned(services=services, postgres=postgres).pgbouncer
    services["s"]["override"] = {"maxReplicas": _why(25)}
    refused(services=services, postgres=postgres)


def test_pools_shrink_before_anything_is_refused(planned: MakePlan) -> None:
    services = {
        "s": {"preset": "fastapi", "image": "x:1", "connectionsPerPod": 100, "override": {"maxReplicas": _why(40)}}
    }
    made = planned(services=services, postgres=STORE)
    assert made.pgbouncer is not None and made.postgres is not None
    # 50 pods × 100 = 5,000 clients need 6 bouncers; (6 + 2) × (pools + 1) + 12 ≤ 100 leaves pools of 10.
    assert made.pgbouncer.replicas.value == 6
    assert (made.pgbouncer.default_pool_size.value, made.pgbouncer.reserve_pool_size.value) == (8, 2)
    assert made.pgbouncer.default_pool_size.bound_by == "max_connections"
    assert any(w.component == "pgbouncer" for w in made.warnings)


def test_canary_pods_connect_too(planned: MakePlan) -> None:
    service = {"preset": "fastapi", "image": "x:1", "connectionsPerPod": 40}
    bare = planned(services={"s": service}, postgres=STORE)
    with_canary = planned(services={"s": {**service, "canary": {"image": "x:2", "weight": 1}}}, postgres=STORE)
    assert bare.pgbouncer is not None and with_canary.pgbouncer is not None
    # (20 + 5) × 40 = 1,000 just fit one bouncer and its spare; a canary of 3 + 1 pods does not.
    assert (bare.pgbouncer.replicas.value, with_canary.pgbouncer.replicas.value) == (2, 3)


def test_one_bouncer_in_local(planned: MakePlan) -> None:
    made = planned(
        "local", services={"s": {"preset": "fastapi", "image": "x:1"}}, postgres={"demand": {"dataset": "1GB"}}
    )
    assert made.pgbouncer is not None
    assert made.pgbouncer.replicas.value == 1
    assert made.pgbouncer.min_available is None


@pytest.mark.parametrize(
    ("parts", "component", "words"),
    [
        ({"services": _sla("200ms", serviceTimeCv=2)}, "s", "18 %"),
        ({"services": {"inferadb": {"preset": "inferadb"}}}, "inferadb", "no image is given"),
        ({"services": {"s": {"preset": "fastapi"}}}, "s", "no other cluster can pull it"),
        ({"postgres": {"replicationFactor": 1}}, "postgres", "a lost node is lost data"),
        ({"postgres": {"shard": {"memory": "512Mi"}}}, "postgres", "all sort at once"),
        ({"redis": {"mode": "cluster", "demand": {"dataset": "600GB"}}}, "redis", "past 500"),
        ({"redis": {"mode": "cluster", "replicasPerMaster": 0}}, "redis", "nothing takes over"),
        ({"redis": {"durable": True}}, "redis", "acknowledged just before a failover"),
        ({"h2o": {"node": {"memory": "64Gi"}}}, "h2o", "compressed object pointers"),
        ({"services": {"etl": {"preset": "mage"}}, "redis": {}}, "etl", "shares its namespace with Redis"),
        ({}, "total", "asks for nothing"),
    ],
)
def test_warned(planned: MakePlan, parts: dict[str, Any], component: str, words: str) -> None:
    assert any(w.component == component and words in w.message for w in planned(**parts).warnings)


def test_mage_in_a_namespace_of_its_own_is_not_warned_of(planned: MakePlan) -> None:
    mage = {"preset": "mage", "namespace": "pipelines"}
    for parts in (
        {"services": {"etl": mage}, "redis": {}, "postgres": STORE},
        {"services": {"etl": {"preset": "mage"}}},
    ):
        assert not [w for w in planned(**parts).warnings if "shares its namespace" in w.message]
