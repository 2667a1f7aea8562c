"""What a stack file may not say: one message that names the key by its full path, the value, the rule and a fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from headroom.capacity import demand
from headroom.errors import InputError

OK = {"preset": "fastapi", "image": "registry.example/inference:1.0.0"}


def _refusal(**parts: Any) -> str:
    with pytest.raises(InputError) as found:
        demand.from_config("x", {"headroom:environment": "prod", **{f"headroom:{k}": v for k, v in parts.items()}})
    return str(found.value)


def _service(**changes: Any) -> dict[str, Any]:
    return {"s": {**OK, **changes}}


def _load(**demand: Any) -> dict[str, Any]:
    return _service(demand=demand, profile={"rpsPerPod": 100, "serviceTime": "8ms"})


S = "headroom:services.s"
WINDOW = {"end": "0 9 * * *", "minReplicas": 2}


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        (
            {"services": _load(targetRps=-5)},
            [f"{S}.demand.targetRps is -5: must be at least", "fix: a positive"],
        ),
        ({"services": _load(targetRps=0)}, [f"{S}.demand.targetRps is 0: must be at least"]),
        ({"services": _load(targetRps="10 rps")}, [f"{S}.demand.targetRps is '10 rps': must be a plain number"]),
        ({"services": _load(targetRps=[1])}, [f"{S}.demand.targetRps is a list: must be a number"]),
        ({"services": _load(targetRps=10**400)}, [f"{S}.demand.targetRps is a huge number"]),
        ({"services": _load(targetRps=None)}, [f"{S}.demand.targetRps has no value"]),
        ({"services": _load(targetrps=1)}, [f"{S}.demand.targetrps is not a key", "did you mean 'targetRps'?"]),
        ({"services": _load(targetRps=1, latency={"p99": 50})}, [f"{S}.demand.latency.p99 is 50: has no unit"]),
        ({"services": _load(targetRps=1, latency={"p99": "50Mi"})}, [f"{S}.demand.latency.p99", "the unit 'Mi'"]),
        ({"services": _load(targetRps=1, latency={})}, [f"{S}.demand.latency.p99 is required"]),
        (
            {"services": _load(targetRps=1, baselineRps=2)},
            [f"{S}.demand.baselineRps is 2: must not be above"],
        ),
        ({"services": _load(baselineRps=2)}, [f"{S}.demand.targetRps is required where a demand is given"]),
        ({"services": _load(targetRps=1, jobsPerHour=2)}, [f"{S}.demand.jobsPerHour is no demand of preset fastapi"]),
        ({"services": _service(demand={"targetRps": 1})}, [f"{S}.profile.rpsPerPod is required", "headroom load"]),
        (
            {"services": _service(demand={"targetRps": 1, "latency": {"p99": "1s"}}, tier="light")},
            [f"{S}.profile.serviceTime is required"],
        ),
        ({"services": _service(tier="light", profile={"cpu": 1})}, [f"{S}.tier: a tier stands in for a profile"]),
        ({"services": _service(tier="lite")}, [f"{S}.tier is 'lite': must be one of", "did you mean 'light'?"]),
        ({"services": _service(preset="flask")}, [f"{S}.preset is 'flask': must be one of fastapi, inferadb, mage"]),
        ({"services": {"s": {}}}, [f"{S}.preset is required"]),
        ({"services": {"s": "fastapi"}}, [f"{S} is 'fastapi': must be a mapping"]),
        ({"services": ["s"]}, ["headroom:services is a list: must be a mapping"]),
        ({"services": {"Bad_Key": OK}}, ["headroom:services.Bad_Key is 'Bad_Key': must be lower-case"]),
        ({"services": {"a" * 41: OK}}, ["at most 40"]),
        ({"services": {"postgres": OK}}, ["headroom:services.postgres is the name of a component"]),
        ({"services": {"total": OK}}, ["headroom:services.total is the name of a component"]),
        *(
            ({"services": {name: OK}}, [f"headroom:services.{name} begins like the objects of a component"])
            for name in ("pg-move", "pg-bootstrap", "default-deny", "allow-dns")
        ),
        ({"services": {"default": OK}}, ["headroom:services.default is the name of the account"]),
        (
            {"services": {"auth": {"preset": "inferadb"}, "auth-mesh": OK}},
            ["headroom:services.auth-mesh is the name that the other service's mesh gets"],
        ),
        ({"namespace": "monitoring"}, ["headroom:namespace is where monitoring lives"]),
        (
            {"services": _service(env={"PGREQUIREAUTH": "none"})},
            [f"{S}.env.PGREQUIREAUTH: keeps the service from sending its password"],
        ),
        ({"services": {"pg-shard-0": OK}}, ["headroom:services.pg-shard-0 begins like the objects of a component"]),
        (
            {"services": {"a": {**OK, "canary": {"image": "x:2", "weight": 0.1}}, "a-canary": OK}},
            ["headroom:services.a-canary is the name of the other service's canary"],
        ),
        ({"services": _service(image="inference")}, [f"{S}.image is 'inference': has neither a tag nor a digest"]),
        ({"services": _service(image="a/b:latest")}, [f"{S}.image is 'a/b:latest'", "names something else every day"]),
        ({"services": _service(image="a b:1")}, [f"{S}.image", "is not an image reference"]),
        ({"services": _service(image="a:1@sha256:12")}, [f"{S}.image", "is not an image reference"]),
        ({"services": _service(image="a:1\n--privileged")}, [f"{S}.image", "control characters"]),
        ({"services": _service(env={"A-B": "x"})}, [f"{S}.env.A-B", "not starting with a digit"]),
        ({"services": _service(env={"A": ["x"]})}, [f"{S}.env.A must be text"]),
        ({"services": _service(env={"A": Decimal("1.10")})}, [f"{S}.env.A: may lose how it is written", "quotes"]),
        ({"services": _service(env={"A": "x\x00"})}, [f"{S}.env.A must not hold control characters"]),
        ({"services": _service(env={"WORKER_THREADS": "9"})}, [f"{S}.env.WORKER_THREADS is set from the plan"]),
        ({"services": _service(namespace="Kube")}, [f"{S}.namespace is 'Kube': must be a DNS label"]),
        ({"services": _service(namespace="kube-system")}, [f"{S}.namespace", "belongs to Kubernetes itself"]),
        ({"services": _service(namespace="monitoring")}, [f"{S}.namespace", "where monitoring lives"]),
        ({"services": _service(existingSecret="postgres-passwords")}, [f"{S}.existingSecret", "platform's own"]),
        ({"services": _service(existingSecret="redis-client-c0df57daff")}, [f"{S}.existingSecret", "platform's own"]),
        (
            {"services": _service(existingSecret="a;b")},
            [f"{S}.existingSecret is 'a;b': must be the name of"],
        ),
        ({"services": _service(safetyMargin=0.9)}, [f"{S}.safetyMargin is 0.9: must be at least 1"]),
        ({"services": _service(connectionsPerPod="four")}, [f"{S}.connectionsPerPod is 'four'"]),
        ({"services": _service(maintenance=True)}, [f"{S}.maintenance: maintenance stops every pod, and this is prod"]),
        ({"services": _service(maintenance="yes")}, [f"{S}.maintenance is 'yes': must be true or false"]),
        ({"services": _service(canary={"image": "x:1", "weight": 2})}, [f"{S}.canary.weight is 2: must be at most 1"]),
        ({"services": _service(canary={"image": "x:latest", "weight": 0})}, [f"{S}.canary.image"]),
        ({"services": _service(emergencyReplicas=30)}, [f"{S}.emergencyReplicas is 30: must be a mapping"]),
        ({"services": _service(emergencyReplicas={"value": 30})}, [f"{S}.emergencyReplicas.because is required"]),
        (
            {"services": _service(override={"maxReplicas": 30})},
            [f"{S}.override.maxReplicas needs its value"],
        ),
        (
            {"services": _service(override={"maxReplicas": {"value": 30}})},
            ["maxReplicas.because", "needs a reason"],
        ),
        (
            {"services": _service(override={"maxReplicas": {"value": 30, "because": " "}})},
            [f"{S}.override.maxReplicas.because must say why"],
        ),
        (
            {"services": _service(override={"maxReplica": {"value": 1, "because": "x"}})},
            ["did you mean 'maxReplicas'"],
        ),
        (
            {"services": _service(override={"maxReplicas": {"value": 0, "because": "x"}})},
            [f"{S}.override.maxReplicas.value is 0: must be at least 1"],
        ),
        (
            {"services": _service(override={"cacheCapacity": {"value": 5, "because": "x"}})},
            [f"{S}.override.cacheCapacity: preset fastapi has no such setting"],
        ),
        (
            {"services": _service(env={"QUEUE_LIMIT": "5"})},
            [f"{S}.env.QUEUE_LIMIT is set from the plan", "use override.queueLimit instead"],
        ),
        (
            {"services": _service(service={"type": "LoadBalancer"})},
            [f"{S}.service.because: a Service of type"],
        ),
        ({"services": _service(service={"annotations": {"a b": "c"}})}, ["is not an annotation's name"]),
        ({"services": _service(autoscaling={"metrics": "keda"})}, [f"{S}.autoscaling.prometheusAddress is required"]),
        (
            {"services": _service(autoscaling={"metrics": "keda", "prometheusAddress": "prometheus"})},
            [f"{S}.autoscaling.prometheusAddress is 'prometheus': must be an http(s) address"],
        ),
        (
            {
                "services": _service(
                    autoscaling={"schedule": [{"start": "0 8 * * *", "end": "0 9 * * *", "minReplicas": 2}]}
                )
            },
            [f"{S}.autoscaling.schedule: only KEDA knows schedules"],
        ),
        (
            {"services": _service(autoscaling={"schedule": [{**WINDOW, "start": "8:00"}]})},
            [f"{S}.autoscaling.schedule[0].start is '8:00': must be five cron fields"],
        ),
        ({"services": _service(autoscaling={"requestsPerSecond": 5})}, ["only preset inferadb scales on this"]),
        ({"services": {"s": {"preset": "mage", "autoscaling": {"metrics": "custom"}}}}, ["Mage emits no Pods metric"]),
        (
            {"services": {"s": {"preset": "mage", "demand": {"jobsPerHour": 1}}}},
            [f"{S}.demand.meanDuration is"],
        ),
        (
            {"services": {"s": {"preset": "mage", "demand": {"targetRps": 1}}}},
            [f"{S}.demand.targetRps is no demand"],
        ),
        (
            {"services": {"s": {"preset": "inferadb", "presetProfile": "current"}}},
            [f"{S}.autoscaling.metrics", "emits no inferadb_requests_per_second", "metricExists: true"],
        ),
        ({"services": _service(presetProfile="current")}, [f"{S}.presetProfile: only preset inferadb has profiles"]),
        ({"pgbouncer": {}}, ["headroom:pgbouncer: there is no PostgreSQL behind it"]),
        ({"postgres": {"replicationFactor": 0}}, ["headroom:postgres.replicationFactor is 0: must be at least 1"]),
        ({"postgres": {"demand": {"dataset": "10"}}}, ["headroom:postgres.demand.dataset is '10': has no unit"]),
        (
            {"postgres": {"override": {"work_mom": {}}}},
            ["postgres.override.work_mom", "did you mean 'work_mem'?"],
        ),
        (
            {"postgres": {"override": {"work_mem": {"value": 64, "because": "x"}}}},
            ["headroom:postgres.override.work_mem.value is 64: has no unit"],
        ),
        ({"redis": {"replicasPerMaster": 1}}, ["headroom:redis.replicasPerMaster is 1: Sentinel needs at least 2"]),
        (
            {"redis": {"durable": True, "maxmemoryPolicy": "allkeys-lru"}},
            ["headroom:redis.maxmemoryPolicy is 'allkeys-lru': a durable store must not evict"],
        ),
        ({"redis": {"mode": "clustr"}}, ["headroom:redis.mode is 'clustr'", "did you mean 'cluster'?"]),
        ({"h2o": {"override": {"nodes": {"value": 0, "because": "x"}}}}, ["headroom:h2o.override.nodes.value is 0"]),
        ({"h2o": {"exportVolume": {"s3": "http://x"}}}, ["headroom:h2o.exportVolume.s3"]),
        ({"nodes": {"cpu": "4"}}, ["headroom:nodes.memory is required"]),
        ({"prices": {"memoryGibHour": 1}}, ["did you mean 'memoryGiBHour'?"]),
        ({"images": {"pullSecrets": "a"}}, ["headroom:images.pullSecrets is 'a': must be a list"]),
        ({"images": {"pullSecrets": ["A"]}}, ["headroom:images.pullSecrets[0] is 'A'"]),
        (
            {"environment": "production"},
            ["headroom:environment is 'production'", "did you mean 'prod'?"],
        ),
        ({"namespace": "a" * 64}, ["headroom:namespace must be at most 63 characters long"]),
        ({"namespace": "a\n  hostNetwork: true"}, ["headroom:namespace", "control characters"]),
        ({"postgress": {}}, ["headroom:postgress is not a key that is known", "did you mean 'postgres'?"]),
        ({"h2o": None}, ["headroom:h2o has no value"]),
        ({"secrets": 5}, ["headroom:secrets must be a mapping"]),
    ],
)
def test_refused(parts: dict[str, Any], words: list[str]) -> None:
    message = _refusal(**parts)
    assert all(word in message for word in words), message
    assert "Traceback" not in message and "pydantic" not in message.lower()
    assert "fix:" in message or "must be" in message


def test_several_problems_are_one_message() -> None:
    message = _refusal(services={"a": {**OK, "safetyMargin": 0}, "b": {**OK, "image": "x"}})
    assert "2 things that cannot be" in message
    assert "headroom:services.a.safetyMargin" in message and "headroom:services.b.image" in message


def test_a_misplaced_password_is_not_repeated() -> None:
    for parts in (
        {"postgres": {"password": "hunter2"}},
        {"services": _service(password="hunter2")},
        {"services": _service(env={"TOKEN": "hunter2\x01"})},
        {"secrets": ["hunter2"]},
        {"password": "hunter2"},
    ):
        assert "hunter2" not in _refusal(**parts)


def test_images_that_are_fine() -> None:
    digest = "sha256:" + "a" * 64
    for image in (
        "a:1",
        "localhost:5000/a/b:1.0",
        f"a@{digest}",
        f"ghcr.io/x/y-z_1:v2@{digest}",
        "mageai/mageai:0.9.76",
    ):
        found = demand.from_config("x", {"environment": "dev", "services": {"s": {**OK, "image": image}}})
        assert found.services["s"].image == image


def test_values_as_pulumi_hands_them_over() -> None:
    """Structured values as JSON text, numbers exact, other prefixes left alone."""
    plain = {"s": {**OK, "demand": {"targetRps": 0.3}, "profile": {"rpsPerPod": 0.1}, "env": {"A": 1, "B": True}}}
    config = {
        "headroom:environment": "dev",
        "headroom:services": json.dumps(plain),
        "headroom:secrets": '{"db": "x"}',
        "kubernetes:context": "kind",
    }
    found = demand.from_config("x", config)
    assert found == demand.from_config("x", {"environment": "dev", "services": plain})
    assert str(found.services["s"].demand.target_rps) == "0.3"  # type: ignore[union-attr]
    assert found.services["s"].env == {"A": "1", "B": "true"}


def test_json_that_is_none() -> None:
    assert "headroom:services is '{' : must" in _refusal(services="{").replace("':", "' :")
    assert "headroom:postgres is a list" in _refusal(postgres="[]")


def test_the_same_key_twice() -> None:
    with pytest.raises(InputError, match="there twice"):
        demand.from_config("x", {"environment": "dev", "headroom:environment": "dev"})


@pytest.mark.parametrize("mapping", [None, [], "x", 5])
def test_not_a_mapping(mapping: Any) -> None:
    with pytest.raises(InputError, match="must be a mapping"):
        demand.from_config("x", mapping)


def test_a_demand_is_frozen() -> None:
    found = demand.from_config("x", {"environment": "dev", "services": {"s": OK}})
    with pytest.raises(ValueError, match="frozen"):
        found.services["s"].safety_margin = 1  # type: ignore[misc, assignment]


@pytest.mark.parametrize(("text", "months"), [("12mo", 12), ("1y", 12), ("0mo", 0)])
def test_months(text: str, months: int) -> None:
    assert demand.months(text) == months


@pytest.mark.parametrize("text", ["12", "a year", "-1mo", "51y", ""])
def test_months_refused(text: str) -> None:
    with pytest.raises(InputError):
        demand.months(text)


def test_current_profile_is_fine_when_told(planned: Callable[..., Any]) -> None:
    for scaling in ({"metricExists": True}, {"metrics": "resource"}):
        made = planned(services={"s": {"preset": "inferadb", "presetProfile": "current", "autoscaling": scaling}})
        assert made.services[0].profile == "current"


@pytest.mark.parametrize(
    "key", ["headrom:services", "Headroom:redis", "HEADROOM:h2o", "headroom :redis", "head-room:x", "hedrom:namespace"]
)
def test_a_mistyped_prefix_is_refused_not_skipped(key: str) -> None:
    """Skipped, `up` would take away what stands under it."""
    with pytest.raises(InputError, match="prefix that is not known") as found:
        demand.from_config("x", {"headroom:environment": "dev", key: {"s": "hidden"}})
    assert found.value.fix == f"did you mean headroom:{key.partition(':')[2]}?"
    assert "hidden" not in str(found.value)


@pytest.mark.parametrize(
    "key", ["aws:region", "kubernetes:namespace", "pulumi:tags", "postgresql:postgres", "gcp:images", "shop:services"]
)
def test_other_prefixes_are_not_ours(key: str) -> None:
    demand.from_config("x", {"headroom:environment": "dev", key: "y"})


def test_names_of_services_and_lists_in_their_place_come_with_a_way_out() -> None:
    assert "fix: for example api-v2" in _refusal(services={"API": OK})
    assert "fix: shorten it" in _refusal(services={"a" * 41: OK})
    assert "fix: write it as `key: value` lines" in _refusal(services=[OK])
