"""What holds for every demand: any config is a plan or a refusal, plans keep every invariant, more is never less."""

from __future__ import annotations

import copy
from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from headroom.capacity import demand, plan
from headroom.capacity import quantities as q
from headroom.capacity.plan import Plan
from headroom.errors import InputError

Config = dict[str, Any]

few = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def _maybe(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    return st.fixed_dictionaries({}, optional=fields)


def _text(numbers: st.SearchStrategy[Any], *units: str) -> st.SearchStrategy[str]:
    return st.builds(lambda n, unit: f"{n}{unit}", numbers, st.sampled_from(units))


rates = st.one_of(st.integers(1, 100_000), st.decimals(1, 10_000, places=2))
growths = st.decimals(0, 2, places=2)


def _why(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Config]:
    return st.fixed_dictionaries({"value": values, "because": st.just("a test")})


@st.composite
def services(draw: st.DrawFn) -> Config:
    """A service that is asked for requests, with a profile or a tier, or for jobs."""
    preset = draw(st.sampled_from(["fastapi", "inferadb", "mage"]))
    found: Config = {"preset": preset, "image": "x:1"}
    found |= draw(
        _maybe(
            safetyMargin=st.decimals(1, 3, places=1),
            minAvailable=st.integers(0, 4),
            connectionsPerPod=st.integers(0, 40),
            namespace=st.sampled_from(["a", "b"]),
            canary=st.fixed_dictionaries({"image": st.just("x:2"), "weight": st.decimals(0, 1, places=2)}),
            emergencyReplicas=_why(st.integers(1, 60)),
            override=_maybe(
                minReplicas=_why(st.integers(1, 60)),
                maxReplicas=_why(st.integers(1, 60)),
                targetCPUUtilization=_why(st.integers(1, 100)),
            ),
            limits=_maybe(cpu=st.sampled_from(["1", "2", "4"]), memory=st.sampled_from(["1Gi", "4Gi", "16Gi"])),
            service=_maybe(loadBalancer=st.fixed_dictionaries({"maxRps": st.integers(1, 200_000)})),
        )
    )
    if preset == "mage":
        jobs = {
            "jobsPerHour": rates,
            "meanDuration": _text(st.integers(1, 600), "s"),
            "concurrency": st.integers(1, 50),
        }
        return found | draw(_maybe(demand=st.fixed_dictionaries(jobs, optional={"growth": growths})))
    load = st.fixed_dictionaries({"targetRps": rates}, optional={"growth": growths})
    if draw(st.booleans()):
        return (
            found | draw(_maybe(tier=st.sampled_from(["light", "medium", "heavy"]))) if draw(st.booleans()) else found
        )
    found["demand"] = draw(load)
    if draw(st.booleans()):
        found["demand"]["latency"] = {"p99": draw(_text(st.integers(20, 500), "ms"))}
    found["profile"] = {
        "rpsPerPod": draw(rates),
        "serviceTime": draw(_text(st.integers(1, 40), "ms")),
        **draw(
            _maybe(
                serviceTimeCv=st.decimals(0, 2, places=1),
                workerThreads=st.integers(1, 16),
                cpuTime=_text(st.integers(1, 40), "ms"),
                cpu=st.sampled_from(["250m", "1", "2"]),
                memory=st.sampled_from(["512Mi", "2Gi"]),
            )
        ),
    }
    return found


sizes = _text(st.integers(1, 999), "MB", "GB", "TB")
memories = _text(st.integers(1, 64), "Gi")
configs = st.fixed_dictionaries(
    {"environment": st.sampled_from(["local", "dev", "staging", "prod"]), "namespace": st.just("test")},
    optional={
        "services": st.dictionaries(st.sampled_from(["api", "web", "db"]), services(), max_size=3),
        "postgres": _maybe(
            demand=st.fixed_dictionaries({"dataset": sizes}, optional={"writesPerSecond": rates, "growth": growths}),
            shard=_maybe(capacity=sizes, writesPerSecond=rates, memory=memories),
            replicationFactor=st.integers(1, 4),
            maxConnections=st.integers(10, 500),
            override=_maybe(shards=_why(st.integers(1, 300)), work_mem=_why(memories)),
        ),
        "redis": _maybe(
            mode=st.sampled_from(["sentinel", "cluster"]),
            demand=st.fixed_dictionaries({"dataset": sizes}, optional={"opsPerSecond": rates, "growth": growths}),
            node=_maybe(maxmemory=memories, opsPerSecond=rates),
            replicasPerMaster=st.integers(0, 3),
            override=_maybe(masters=_why(st.integers(1, 50)), containerMemory=_why(memories)),
        ),
        "h2o": _maybe(
            demand=st.fixed_dictionaries({"dataset": sizes}, optional={"growth": growths}),
            node=_maybe(memory=memories),
            xgboost=st.booleans(),
            override=_maybe(nodes=_why(st.integers(1, 50)), heap=_why(memories)),
        ),
        "nodes": st.fixed_dictionaries(
            {"cpu": st.sampled_from(["4", "64"]), "memory": memories}, optional={"max": st.integers(1, 500)}
        ),
    },
)


def _made(config: Config, months: int = 0) -> Plan | InputError:
    try:
        return plan.make(demand.from_config("x", config), months)
    except InputError as error:
        return error


def _milli(text: str) -> int:
    return int(q.cores(text) * 1000)


def _check(config: Config, made: Plan) -> None:
    """Every invariant again, from the plan alone and the config, without the code that made it."""
    clients = 0
    for service in made.services:
        asked = config["services"][service.key]
        assert 1 <= service.min_replicas.value <= service.max_replicas.value
        if "tier" not in asked:
            assert service.replicas_at_target.value <= service.max_replicas.value
        if service.predicted_p99_ms is not None:
            assert service.predicted_p99_ms.value < float("inf")
            latency = asked["demand"].get("latency")
            if latency:
                assert service.predicted_p99_ms.value <= float(q.seconds(latency["p99"])) * 1000 + 0.1
        limit = service.exposure.max_rps
        if limit is not None and "demand" in asked and "targetRps" in asked["demand"]:
            assert Fraction(asked["demand"]["targetRps"]) <= limit
        drain = service.drain
        assert drain.grace_period_seconds.value >= drain.pre_stop_seconds + drain.drain_seconds + 10
        if service.min_available is not None:
            assert service.min_available.value < service.min_replicas.value
        canary = service.canary.replicas.value if service.canary else 0
        pods = service.max_replicas.value + ceil(service.max_replicas.value / 4) + canary + ceil(canary / 4)
        clients += pods * service.connections_per_pod.value
        size = service.resources
        assert _milli(size.cpu_request.value) <= _milli(size.cpu_limit.value)
        assert q.octets(size.memory_request.value) <= q.octets(size.memory_limit.value)
    if made.postgres and made.pgbouncer:
        bouncer, count = made.pgbouncer, made.pgbouncer.replicas.value
        spare = 0 if made.environment == "local" and count == 1 else 1
        assert clients <= (count - spare) * bouncer.max_client_conn.value
        pools = bouncer.default_pool_size.value + bouncer.reserve_pool_size.value + 1
        reserved = 3 + 2 * made.postgres.replication_factor.value + 5
        assert (count + ceil(count / 4)) * pools + reserved <= made.postgres.max_connections.value
        assert bouncer.default_pool_size.value >= 2
        load = config["postgres"].get("demand")
        if load:
            capacity = q.octets(config["postgres"].get("shard", {}).get("capacity", "1TB"))
            assert made.postgres.shards.value * capacity >= q.octets(load["dataset"])
            volumes = made.postgres.shards.value * q.octets(made.postgres.volume_size.value)
            assert volumes * Fraction(7, 10) >= q.octets(load["dataset"])
        assert made.postgres.shards.value <= 256
    if made.redis:
        load = config["redis"].get("demand")
        if load:
            holds = made.redis.masters.value * q.octets(made.redis.maxmemory.value)
            assert holds >= Fraction(6, 5) * q.octets(load["dataset"])
        assert made.redis.masters.value >= 3 if made.redis.mode == "cluster" else made.redis.masters.value == 1
        assert q.octets(made.redis.container_memory.value) * Fraction(3, 4) >= q.octets(made.redis.maxmemory.value)
    if made.h2o:
        heap, container = q.octets(made.h2o.heap.value), q.octets(made.h2o.container_memory.value)
        assert 0 < heap < container
        assert not made.h2o.xgboost or 2 * heap <= container
        load = config["h2o"].get("demand")
        if load:
            assert made.h2o.nodes.value * heap >= 4 * q.octets(load["dataset"])
    _check_nodes(config, made)
    assert made.monthly_cost_at_min.value <= made.monthly_cost_at_max.value


def _check_nodes(config: Config, made: Plan) -> None:
    pods = [
        (s.resources, {}, s.max_replicas.value + (s.canary.replicas.value if s.canary else 0)) for s in made.services
    ]
    if made.postgres:
        pods.append((made.postgres.resources, dict(made.postgres.sidecars), made.postgres.nodes.value))
    if made.pgbouncer:
        pods.append((made.pgbouncer.resources, dict(made.pgbouncer.sidecars), made.pgbouncer.replicas.value))
    if made.redis:
        count = made.redis.masters.value * (1 + made.redis.replicas_per_master.value)
        pods.append((made.redis.resources, dict(made.redis.sidecars), count))
    if made.h2o:
        pods.append((made.h2o.resources, dict(made.h2o.sidecars), made.h2o.nodes.value))
    cpu = memory = total = 0
    for main, sidecars, count in pods:
        containers = [main, *sidecars.values()]
        pod_cpu = sum(_milli(c.cpu_request.value) for c in containers)
        pod_memory = sum(q.octets(c.memory_request.value) for c in containers)
        if "nodes" in config:
            assert pod_cpu <= _milli(config["nodes"]["cpu"])
            assert pod_memory <= q.octets(config["nodes"]["memory"])
        cpu, memory, total = cpu + count * pod_cpu, memory + count * pod_memory, total + count
    if "max" in config.get("nodes", {}):
        assert cpu <= config["nodes"]["max"] * _milli(config["nodes"]["cpu"])
        assert memory <= config["nodes"]["max"] * q.octets(config["nodes"]["memory"])
    # The quotas hold all of it at once.
    assert sum(n.pods.value for n in made.namespaces) >= total
    assert sum(_milli(n.cpu_requests.value) for n in made.namespaces) >= cpu
    assert sum(q.octets(n.memory_requests.value) for n in made.namespaces) >= memory - len(made.namespaces) * 2**20


@given(configs, st.integers(0, 60))
@settings(parent=few, max_examples=300)
def test_a_plan_that_holds_or_a_refusal_that_names_the_key(config: Config, months: int) -> None:
    made = _made(copy.deepcopy(config), months)
    if isinstance(made, InputError):
        assert "headroom:" in made.message
        return
    _check(config, made)


@given(configs)
@few
def test_the_same_demand_is_the_same_plan(config: Config) -> None:
    first, second = _made(config), _made(config)
    assert first == second or str(first) == str(second)


def _scaled(config: Config, key: tuple[str, ...], factor: int) -> Config:
    found = copy.deepcopy(config)
    at = found
    for part in key[:-1]:
        at = at[part]
    last = at[key[-1]]
    at[key[-1]] = last * factor if not isinstance(last, str) else f"{int(last[:-2]) * factor}{last[-2:]}"
    return found


sizes_of: dict[str, Callable[[Plan], list[int]]] = {
    "service": lambda p: [p.services[0].min_replicas.value, p.services[0].max_replicas.value],
    "postgres": lambda p: [p.postgres.shards.value, p.postgres.nodes.value] if p.postgres else [],
    "redis": lambda p: [p.redis.masters.value] if p.redis else [],
    "h2o": lambda p: [p.h2o.nodes.value] if p.h2o else [],
}

GROWING = [
    ("service", ("services", "s", "demand", "targetRps")),
    ("service", ("services", "s", "demand", "baselineRps")),
    ("postgres", ("postgres", "demand", "dataset")),
    ("postgres", ("postgres", "demand", "writesPerSecond")),
    ("redis", ("redis", "demand", "dataset")),
    ("redis", ("redis", "demand", "opsPerSecond")),
    ("h2o", ("h2o", "demand", "dataset")),
]


@given(
    st.sampled_from(GROWING),
    st.integers(2, 5),
    st.fixed_dictionaries(
        {
            "targetRps": st.integers(1, 50_000),
            "service": st.integers(1, 20),
            "cv": st.decimals(0, 2, places=1),
            "sla": st.integers(60, 900),
            "gb": st.integers(1, 900),
            "rate": st.integers(1, 50_000),
        }
    ),
)
@few
def test_more_demand_is_never_less(growing: tuple[str, tuple[str, ...]], factor: int, drawn: dict[str, Any]) -> None:
    config = {
        "environment": "prod",
        "services": {
            "s": {
                "preset": "fastapi",
                "image": "x:1",
                "demand": {
                    "targetRps": drawn["targetRps"] * 5,
                    "baselineRps": drawn["targetRps"],
                    "latency": {"p99": f"{drawn['sla']}ms"},
                },
                "profile": {"rpsPerPod": 100, "serviceTime": f"{drawn['service']}ms", "serviceTimeCv": drawn["cv"]},
                "connectionsPerPod": 0,
            }
        },
        "postgres": {
            "demand": {"dataset": f"{drawn['gb']}GB", "writesPerSecond": drawn["rate"]},
            "shard": {"capacity": "50GB"},
        },
        "redis": {"mode": "cluster", "demand": {"dataset": f"{drawn['gb']}GB", "opsPerSecond": drawn["rate"]}},
        "h2o": {"demand": {"dataset": f"{drawn['gb']}GB"}},
    }
    part, key = growing
    before, after = _made(config), _made(_scaled(config, key, factor))
    assume(isinstance(before, Plan) and isinstance(after, Plan))
    assert isinstance(before, Plan) and isinstance(after, Plan)
    assert all(a <= b for a, b in zip(sizes_of[part](before), sizes_of[part](after), strict=True))
    assert before.monthly_cost_at_max.value <= after.monthly_cost_at_max.value


@given(st.integers(1, 20), st.integers(40, 500), st.integers(1, 400), st.integers(1, 20_000))
@few
def test_a_tighter_promise_is_never_fewer_pods(service: int, sla: int, looser: int, rate: int) -> None:
    def pods(p99: int) -> int | None:
        made = _made(
            {
                "environment": "prod",
                "services": {
                    "s": {
                        "preset": "fastapi",
                        "image": "x:1",
                        "demand": {"targetRps": rate, "latency": {"p99": f"{p99}ms"}},
                        "profile": {"rpsPerPod": 1000, "serviceTime": f"{service}ms"},
                    }
                },
            }
        )
        return made.services[0].replicas_at_target.value if isinstance(made, Plan) else None

    tight, loose = pods(sla), pods(sla + looser)
    if tight is not None:
        assert loose is not None and loose <= tight


junk = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=12),
        st.sampled_from(
            ["1", "10ms", "2Gi", "1GB", "prod", "fastapi", "x:1", "cluster", "500m", "a\nb", "\x00", "$(HOME)"]
        ),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)),
    max_leaves=6,
)


@given(configs, st.data())
@settings(parent=few, max_examples=300)
def test_anything_anywhere_is_a_plan_or_a_refusal(config: Config, data: st.DataObject) -> None:
    """One value of a sound config replaced by junk, or a key added: never another exception."""
    config = copy.deepcopy(config)
    at: Any = config
    while True:
        key = data.draw(st.sampled_from(sorted(at)))
        if isinstance(at[key], dict) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        break
    if data.draw(st.booleans()):
        at[key] = data.draw(junk)
    else:
        at[data.draw(st.text(max_size=8))] = data.draw(junk)
    made = _made(config)
    if isinstance(made, InputError):
        assert "headroom:" in made.message or "stack x" in made.message
        assert "\x00" not in made.message and "Error" not in made.message


@given(junk)
@settings(parent=few, max_examples=200)
def test_any_mapping_at_all(raw: Any) -> None:
    made = _made(raw)
    assert isinstance(made, Plan | InputError)


@given(
    st.sampled_from(["services", "postgres", "pgbouncer", "redis", "h2o", "nodes", "prices", "images", "secrets"]), junk
)
@few
def test_any_value_of_a_known_key(key: str, raw: Any) -> None:
    made = _made({"environment": "dev", key: raw})
    assert isinstance(made, Plan) or f"headroom:{key}" in made.message
