"""Every symptom by itself: the healthy stack with one thing broken gives the one finding that explains it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest

from headroom.ops.doctor import Severity, Snapshot, diagnose
from headroom.ops.doctor.model import Anchor
from headroom.ops.doctor.snapshot import (
    ContainerId,
    PodTraffic,
    PoolerNode,
    ProbeFailure,
    Standby,
    Traffic,
    VolumeUse,
)
from headroom.ops.reshard import Moving, State

PODS = ("inference-", "inference-")


def traffic(lab: Any, rates: tuple[float, ...], **fields: Any) -> Snapshot:
    seen: Snapshot = lab.healthy()
    names = [p["metadata"]["name"] for p in seen.pods if p["metadata"]["name"].startswith("inference-")]
    errors = fields.pop("errors", 0.0)
    pods = tuple(PodTraffic(n, r, errors) for n, r in zip(names, rates, strict=True))
    p99 = fields.pop("p99", 0.03)
    return replace(seen, traffic={"inference": Traffic("inference", 60, pods, p99, **fields)})


def moving(lab: Any, *, working: bool, paused: bool = False, **of: Any) -> Snapshot:
    fields = {"step": "done", "idle": 1.0, "verified": True, **of}
    move = Moving(
        bucket=7, source=0, target=1, attempt=1, bytes=1, copied=1, pause_ms=None, said="", took=1.0, **fields
    )
    return replace(lab.healthy(), moves=(State(3, (0,) * 256, paused, False, working, (move,)),))


def condition(of: dict[str, Any], kind: str, **fields: str) -> None:
    every = of["status"].setdefault("conditions", [])
    found = next((c for c in every if c["type"] == kind), None)
    if found is None:
        every.append(found := {"type": kind})
    found.update(fields)


def unready(lab: Any) -> Snapshot:
    def change(pod: dict[str, Any]) -> None:
        condition(pod, "Ready", status="False", message="containers with unready status: [inference]")
        pod["status"]["containerStatuses"][0]["ready"] = False

    seen = lab.healthy()
    name = next(p["metadata"]["name"] for p in seen.pods if p["metadata"]["name"].startswith("inference-"))
    event = {
        "metadata": {"name": "e", "namespace": "headroom"},
        "involvedObject": {"kind": "Pod", "name": name, "namespace": "headroom"},
        "reason": "Unhealthy",
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "lastTimestamp": "2026-11-22T09:10:55Z",
    }
    seen = replace(seen, at=seen.at + timedelta(minutes=5), events=(*seen.events, event))
    return lab.change(seen, "pods", name, change)


def quota(lab: Any) -> Snapshot:
    seen = lab.healthy()

    def change(deployment: dict[str, Any]) -> None:
        deployment["status"] = lab.sick("deployments", "over-quota")["status"]

    return lab.change(seen, "deployments", "inference", change)


def refused(lab: Any) -> Snapshot:
    def change(deployment: dict[str, Any]) -> None:
        words = 'pods "inference-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
        condition(deployment, "ReplicaFailure", status="True", message=words)

    return lab.change(lab.healthy(), "deployments", "inference", change)


def claim(lab: Any) -> Snapshot:
    seen = lab.healthy()
    return replace(
        seen,
        claims=(*seen.claims, lab.sick("claims", "data", "postgres")),
        events=(*seen.events, *lab.events("data")),
    )


def keda_fallback(lab: Any) -> Snapshot:
    scaled = {
        "metadata": {"name": "inference-hpa", "namespace": "headroom"},
        "status": {"conditions": [{"type": "Fallback", "status": "True", "reason": "FallbackExists", "message": "m"}]},
    }
    return replace(lab.healthy(), scaled_objects=(scaled,))


def at_bound(lab: Any) -> Snapshot:
    return lab.with_autoscaler("atmax-hpa")


def waiting(lab: Any) -> Snapshot:
    def change(hpa: dict[str, Any]) -> None:
        hpa["status"]["currentReplicas"] = 3
        condition(hpa, "AbleToScale", status="True", reason="ScaleDownStabilized", message="recent recommendations")

    return lab.change(lab.healthy(), "autoscalers", "inference-hpa", change)


def no_requests(lab: Any) -> Snapshot:
    def change(pod: dict[str, Any]) -> None:
        pod["spec"]["containers"].append({"name": "proxy", "image": "proxy", "resources": {}})

    return lab.change(lab.healthy(), "pods", "inference-", change)


def active(lab: Any, **fields: str) -> Snapshot:
    return lab.change(
        lab.healthy(), "autoscalers", "inference-hpa", lambda h: condition(h, "ScalingActive", status="False", **fields)
    )


def bounds(hpa: dict[str, Any]) -> None:
    hpa["spec"]["maxReplicas"] = 20


def node(kind: str, status: str) -> Callable[[Any], Snapshot]:
    return lambda lab: lab.change(
        lab.healthy(), "nodes", "", lambda n: condition(n, kind, status=status, message="the kubelet said so")
    )


def selector(service: dict[str, Any]) -> None:
    service["spec"]["selector"] = {"app.kubernetes.io/name": "inference", "version": "2"}


def standbys(lab: Any, *found: Standby, paused: bool = False) -> Snapshot:
    seen = lab.healthy()
    standby, primary = seen.postgres
    return replace(seen, postgres=(replace(standby, paused=paused), replace(primary, standbys=found)))


def redis(lab: Any, number: int, **fields: Any) -> Snapshot:
    seen = lab.healthy()
    reports = [dict(r) for r in seen.redis]
    reports[number].update(fields)
    return replace(seen, redis=tuple(reports))


def h2o(lab: Any, **cloud: Any) -> Snapshot:
    seen = lab.healthy()
    states = [{**t, "cloud": {**t["cloud"], **cloud}} if t.get("cloud") else dict(t) for t in seen.h2o]
    return replace(seen, h2o=tuple(states))


def three_nodes(config: dict[str, Any]) -> None:
    config["headroom:h2o"]["demand"]["dataset"] = "700MB"


# Anchor: how it comes about, what the finding must say, and its severity where it is not an error.
CASES: dict[str, tuple[Callable[[Any], Snapshot], str, Severity]] = {
    "no-room-for-a-pod": (
        lambda lab: lab.with_pod("big"),
        "no node is large enough: the pod asks for 64 cores and 1,024 GiB",
        Severity.error,
    ),
    "no-node-fits-a-pod": (lambda lab: lab.with_pod("picky"), "nodeSelector gpu=yes", Severity.error),
    "image-cannot-be-pulled": (
        lambda lab: lab.with_pod("noimage"),
        "the node does not reach the registry",
        Severity.error,
    ),
    "out-of-memory": (
        lambda lab: lab.with_pod("oom"),
        "its limit is 64Mi, below the 1Gi of the plan",
        Severity.error,
    ),
    "container-keeps-crashing": (lambda lab: lab.with_pod("crash"), "exit code 3", Severity.error),
    "pod-is-not-ready": (unready, "the program itself says that it is not ready", Severity.error),
    "quota-is-used-up": (quota, "pods=1,requests.cpu=60m,requests.memory=40Mi", Severity.error),
    "pod-is-refused": (refused, "the namespace enforces a Pod Security Standard", Severity.error),
    "volume-is-not-provisioned": (claim, "there is no storage class nowhere", Severity.error),
    "volume-is-full": (
        lambda lab: replace(
            lab.healthy(),
            volumes=(VolumeUse("headroom", "data-pg-shard-0-0", "pg-shard-0-0", 96 * 2**30, 4 * 2**30),),
        ),
        "96.0 GiB used, 4.0 GiB left",
        Severity.error,
    ),
    "autoscaler-is-missing": (
        lambda lab: replace(lab.healthy(), autoscalers=()),
        "headroom up --stack local",
        Severity.error,
    ),
    "no-metrics-api": (
        lambda lab: lab.with_autoscaler("nometric-hpa"),
        "nothing serves custom.metrics.k8s.io",
        Severity.error,
    ),
    "metric-is-missing": (
        lambda lab: active(lab, reason="FailedGetResourceMetric", message="no metrics returned"),
        "FailedGetResourceMetric: no metrics returned",
        Severity.error,
    ),
    "no-requests-set": (no_requests, "proxy has no request of cpu", Severity.error),
    "autoscaler-is-suspended": (
        lambda lab: active(lab, reason="ScalingDisabled", message="scaling is disabled since the replica count is 0"),
        "headroom maintenance off inference",
        Severity.error,
    ),
    "two-autoscalers-own-the-pods": (
        lambda lab: active(lab, reason="AmbiguousSelector", message="controlled by multiple HPAs"),
        "kubectl get hpa",
        Severity.error,
    ),
    "autoscaler-is-at-its-bound": (at_bound, "cpu at 475 %, held at 70 %", Severity.warning),
    "autoscaler-waits-in-its-window": (waiting, "in the last 300 s", Severity.note),
    "autoscaler-is-not-as-planned": (
        lambda lab: lab.change(lab.healthy(), "autoscalers", "inference-hpa", bounds),
        "is held between 2 and 20 pods, and 2 to 3 are planned",
        Severity.warning,
    ),
    "service-selects-the-wrong-pods": (
        lambda lab: lab.change(lab.healthy(), "services", "inference", selector),
        "version=2",
        Severity.error,
    ),
    "requests-are-uneven": (lambda lab: traffic(lab, (90, 10)), "connections that live long", Severity.warning),
    "latency-is-over-its-promise": (
        lambda lab: traffic(lab, (20, 20), p99=0.4, promised=0.25, target=150),
        "has a p99 of 400 ms, and 250 ms are promised",
        Severity.error,
    ),
    "errors-are-over-their-threshold": (
        lambda lab: traffic(lab, (20, 20), errors=2.0),
        "answers 10% of its requests with an error",
        Severity.error,
    ),
    "more-requests-than-planned": (
        lambda lab: traffic(lab, (90, 90), promised=0.25, target=150),
        "gets 180 requests/s, and 150 are planned",
        Severity.warning,
    ),
    "connections-are-used-up": (
        lambda lab: replace(lab.healthy(), poolers=(PoolerNode("pgbouncer-x", 950, 1000, 0, 0.0),)),
        "has 950 of the 1,000 clients",
        Severity.error,
    ),
    "shard-has-no-primary": (
        lambda lab: replace(
            lab.healthy(), postgres=tuple(replace(n, primary=False, standbys=()) for n in lab.healthy().postgres)
        ),
        "so nothing can be written",
        Severity.error,
    ),
    "replication-lags": (
        lambda lab: standbys(lab, Standby("pg-shard-0-0", "streaming", "sync", 64 * 2**20)),
        "pg-shard-0-0 is 64 MiB behind",
        Severity.error,
    ),
    "standby-does-not-follow": (standbys, "0 of 1 standbys stream", Severity.error),
    "buckets-do-not-move": (
        lambda lab: moving(lab, working=False, step="following", idle=30),
        "1 buckets are on their way and no mover works",
        Severity.error,
    ),
    "redis-has-no-leader": (
        lambda lab: redis(lab, 0, role="slave", master_link_status="up"),
        "0 masters",
        Severity.error,
    ),
    "redis-replica-does-not-follow": (
        lambda lab: redis(lab, 1, master_link_status="down"),
        "redis-1",
        Severity.error,
    ),
    "h2o-heap-is-full": (
        lambda lab: h2o(lab, heap_used=int(0.95 * 2075918336)),
        "uses 95% of its heap",
        Severity.error,
    ),
    "job-failed": (
        lambda lab: lab.change(
            lab.healthy(),
            "jobs",
            "",
            lambda j: condition(j, "Failed", status="True", reason="BackoffLimitExceeded", message="its limit"),
        ),
        "BackoffLimitExceeded",
        Severity.error,
    ),
    "node-is-not-well": (node("DiskPressure", "True"), "the kubelet said so", Severity.error),
    "no-answer": (
        lambda lab: replace(lab.healthy(), failures=(ProbeFailure("redis", "pod redis-1", "no answer within 20 s"),)),
        "no answer within 20 s",
        Severity.error,
    ),
    "part-is-not-deployed": (
        lambda lab: replace(
            lab.healthy(),
            stateful_sets=tuple(s for s in lab.healthy().stateful_sets if s["metadata"]["name"] != "redis"),
        ),
        "StatefulSet headroom/redis",
        Severity.error,
    ),
}
# Those that need another plan have tests of their own below.
ELSEWHERE = {
    "cache-does-not-fit-its-pod",
    "h2o-is-locked",
    "h2o-is-short",
    "load-balancer-is-at-its-limit",
    "redis-is-full",
    "slots-are-missing",
}


def test_a_healthy_stack_gives_none(lab: Any) -> None:
    assert lab.diagnose(lab.healthy()) == []


def test_a_healthy_stack_under_even_load_gives_none(lab: Any) -> None:
    assert lab.diagnose(traffic(lab, (60, 50), promised=0.25, target=150)) == []


@pytest.mark.parametrize("anchor", CASES)
def test_a_symptom_is_found_and_explained(lab: Any, anchor: str) -> None:
    make, words, severity = CASES[anchor]
    found = lab.one(make(lab), anchor)
    assert found.severity is severity
    told = "\n".join([found.subject, found.symptom, found.because, found.fix, *found.evidence])
    assert words in told
    assert found.fix
    assert found.because


def test_moves_that_go_on_are_no_symptom_and_those_that_do_not_are(lab: Any) -> None:
    for fine in (
        moving(lab, working=False),
        moving(lab, working=True, step="copying"),
        moving(lab, working=True, paused=True, step="planned", idle=90_000),
    ):
        assert lab.diagnose(fine) == []
    for wrong, words in (
        (moving(lab, working=True, step="following", idle=1200), "have not come further for 20 minutes"),
        (moving(lab, working=True, step="opened", verified=False), "is not what its former shard had"),
    ):
        assert words in lab.one(wrong, "buckets-do-not-move").symptom


def test_every_symptom_has_a_test() -> None:
    assert set(CASES) | ELSEWHERE == set(get_args(Anchor))


def test_the_last_words_of_a_container_are_told(lab: Any) -> None:
    seen = lab.with_pod("crash")
    name = seen.pods[-1]["metadata"]["name"]
    seen = replace(seen, last_words={ContainerId("headroom", name, "main"): ("no model at /model",)})
    assert "log: no model at /model" in lab.one(seen, "container-keeps-crashing").evidence


def test_a_pod_that_waits_for_its_claim_is_told_with_the_claim_alone(lab: Any) -> None:
    seen = claim(lab)
    seen = replace(seen, pods=(*seen.pods, lab.with_pod("novolume", "postgres").pods[-1]))
    found = lab.one(seen, "volume-is-not-provisioned")
    assert "novolume" in found.symptom


def test_memory_that_the_plan_gives_and_that_is_not_enough_is_another_fix(lab: Any) -> None:
    def change(pod: dict[str, Any]) -> None:
        pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi"

    seen = lab.change(lab.with_pod("oom"), "pods", "oom", change)
    found = lab.one(seen, "out-of-memory")
    assert "the 1Gi of the plan" in found.because
    assert "headroom rightsize inference" in found.fix


def test_a_full_node_is_not_a_small_one(lab: Any) -> None:
    def change(pod: dict[str, Any]) -> None:
        pod["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "1500m", "memory": "1Gi"}

    seen = lab.change(lab.with_pod("big"), "pods", "big", change)
    assert "every node is full" in lab.one(seen, "no-room-for-a-pod").because


@pytest.mark.parametrize(
    ("words", "because"),
    [
        ("0/3 nodes are available: 3 node(s) had untolerated taint {gpu: true}.", "taint"),
        ("0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.", "uneven"),
        ("0/3 nodes are available: 3 node(s) were unschedulable.", "cordoned"),
    ],
)
def test_what_keeps_a_pod_from_its_node(lab: Any, words: str, because: str) -> None:
    seen = lab.change(lab.with_pod("picky"), "pods", "picky", lambda p: condition(p, "PodScheduled", message=words))
    assert because in lab.one(seen, "no-node-fits-a-pod").because


@pytest.mark.parametrize(
    ("message", "because", "fix"),
    [
        ("manifest unknown", "no such image", "headroom:services.inference.image"),
        ("pull access denied, repository does not exist or may require authorization", "login", "pullSecrets"),
        ("x509: certificate signed by unknown authority", "trust", "headroom up"),
    ],
)
def test_what_a_registry_says(lab: Any, message: str, because: str, fix: str) -> None:
    def change(pod: dict[str, Any]) -> None:
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = message

    found = lab.one(lab.change(lab.with_pod("noimage"), "pods", "noimage", change), "image-cannot-be-pulled")
    assert because in found.because
    assert fix in found.fix


def test_metrics_server_away_is_told_before_the_autoscaler_says_so(lab: Any) -> None:
    seen = replace(lab.healthy(), apis={"v1beta1.metrics.k8s.io": "is not available: endpoints not found"})
    found = lab.one(seen, "no-metrics-api")
    assert "endpoints not found" in found.because
    assert "metrics-server" in found.fix


def test_a_request_that_the_autoscaler_misses_is_not_a_missing_metric(lab: Any) -> None:
    hpa = lab.with_autoscaler("norequests-hpa")
    assert lab.diagnose(hpa) == []  # its pods here have requests; the controller's words are old
    both = replace(no_requests(lab), autoscalers=hpa.autoscalers)
    assert "missing request for cpu" in "".join(lab.one(both, "no-requests-set").evidence)


def test_keda_without_its_metric(lab: Any) -> None:
    assert "keeps what there is" in lab.one(keda_fallback(lab), "metric-is-missing").because


def test_session_affinity_is_the_cause_where_it_is_set(lab: Any) -> None:
    seen = lab.change(
        traffic(lab, (90, 10)), "services", "inference", lambda s: s["spec"].update(sessionAffinity="ClientIP")
    )
    assert "ClientIP" in lab.one(seen, "requests-are-uneven").because


def test_a_pod_that_came_meanwhile_proves_no_skew(lab: Any) -> None:
    seen = traffic(lab, (90, 10))
    seen = lab.change(
        seen,
        "pods",
        seen.traffic["inference"].pods[1].pod,
        lambda p: condition(p, "Ready", lastTransitionTime="2026-11-22T09:10:30Z"),
    )
    assert lab.diagnose(seen) == []


def test_a_container_that_was_killed_once_and_is_well_again_is_a_warning(lab: Any) -> None:
    def change(pod: dict[str, Any]) -> None:
        condition(pod, "Ready", status="True")
        status = pod["status"]["containerStatuses"][0]
        status.update(ready=True, restartCount=1, state={"running": {"startedAt": "2026-11-22T09:10:50Z"}})

    found = lab.one(lab.change(lab.with_pod("oom"), "pods", "oom", change), "out-of-memory")
    assert found.severity is Severity.warning
    assert "once" in found.symptom


def test_few_requests_prove_no_skew(lab: Any) -> None:
    assert lab.diagnose(traffic(lab, (0.4, 0.05))) == []


def test_pods_of_another_workload_behind_the_service(lab: Any) -> None:
    seen = lab.healthy()
    stranger = lab.sick("pods", "atmax", "atmax")
    stranger["metadata"]["labels"]["app.kubernetes.io/name"] = "inference"
    found = lab.one(replace(seen, pods=(*seen.pods, stranger)), "service-selects-the-wrong-pods")
    assert "atmax" in found.symptom


def test_a_ready_pod_that_is_no_endpoint(lab: Any) -> None:
    seen = lab.healthy()

    def change(slice_: dict[str, Any]) -> None:
        slice_["endpoints"] = slice_["endpoints"][:1]

    seen = lab.change(seen, "endpoint_slices", "inference", change)
    assert "leaves out" in lab.one(seen, "service-selects-the-wrong-pods").symptom


def test_a_load_balancer_near_its_limit(lab: Any) -> None:
    def limit(config: dict[str, Any]) -> None:
        config["headroom:services"]["inference"]["service"] = {"loadBalancer": {"maxRps": 160}}

    found = lab.one(traffic(lab, (75, 70)), "load-balancer-is-at-its-limit", lab.plan(limit))
    assert found.severity is Severity.warning
    assert "145 of the 160 requests/s" in found.symptom


def test_a_cache_that_was_told_to_grow_too_large(lab: Any) -> None:
    """As an inferadb service of 512Mi: 250,000 entries fit."""
    seen = lab.change(
        lab.healthy(),
        "config_maps",
        "inference-config",
        lambda c: c["data"].update(INFERADB__CACHE__MAX_CAPACITY="2000000"),
    )
    found = lab.one(seen, "cache-does-not-fit-its-pod")
    assert "may cache 2,000,000 entries, and its memory is enough for 250,000" in found.symptom


def test_redis_that_may_fill_its_container(lab: Any) -> None:
    found = [f for n in (0,) for f in lab.diagnose(redis(lab, n, maxmemory=str(2**30)))]
    assert [f.anchor for f in found] == ["cache-does-not-fit-its-pod"]


def test_clients_that_wait_for_a_server(lab: Any) -> None:
    seen = replace(lab.healthy(), poolers=(PoolerNode("pgbouncer-x", 40, 1000, 12, 7.0),))
    assert "12 clients wait" in lab.one(seen, "connections-are-used-up").symptom


def test_a_shard_without_connections(lab: Any) -> None:
    seen = lab.healthy()
    standby, primary = seen.postgres
    seen = replace(seen, postgres=(standby, replace(primary, connections=97)))
    assert "97 of 100" in lab.one(seen, "connections-are-used-up").symptom


def test_paused_replay_is_told_once_with_its_cause(lab: Any) -> None:
    seen = standbys(lab, Standby("pg-shard-0-0", "streaming", "sync", 64 * 2**20), paused=True)
    found = lab.one(seen, "replication-lags")
    assert "pg_wal_replay_resume" in found.fix
    assert "67,108,864 bytes behind" in found.evidence[0]


def test_two_primaries(lab: Any) -> None:
    seen = lab.healthy()
    standby, primary = seen.postgres
    seen = replace(seen, postgres=(replace(standby, primary=True), primary))
    found = [f for f in lab.diagnose(seen) if f.anchor == "shard-has-no-primary"]
    assert "2 primaries" in found[0].symptom


def as_cluster(config: dict[str, Any]) -> None:
    config["headroom:nodes"]["max"] = 5
    config["headroom:redis"] = {
        "mode": "cluster",
        "demand": {"dataset": "40MB", "opsPerSecond": 1000},
        "node": {"maxmemory": "64Mi", "opsPerSecond": 10000},
        "replicasPerMaster": 0,
    }


def cluster_report(pod: int, **fields: Any) -> dict[str, Any]:
    told = {"pod": f"redis-{pod}", "role": "master", "maxmemory": "67108864", "used_memory": "1000000"}
    return {
        **told,
        "cluster_state": "ok",
        "slots_ok": 16384,
        "slots": 16384,
        "failed": [],
        "open_slots": False,
        **fields,
    }


def test_slots_that_nobody_serves_and_slots_on_their_way(lab: Any) -> None:
    plan, seen = lab.plan(as_cluster), lab.healthy()
    well = [cluster_report(n) for n in range(3)]
    assert lab.diagnose(replace(seen, redis=tuple(well)), plan) == []
    gap = [cluster_report(n, slots_ok=16000, cluster_state="fail", failed=["redis-2.x"]) for n in range(3)]
    found = lab.one(replace(seen, redis=tuple(gap)), "slots-are-missing", plan)
    assert "serves 16,000 of 16,384 slots" in found.symptom
    assert "lost with all its replicas" in found.because
    open_ = [*well[:2], cluster_report(2, open_slots=True)]
    assert lab.one(replace(seen, redis=tuple(open_)), "slots-are-missing", plan).severity is Severity.warning


def test_a_store_that_does_not_evict_is_nearly_full(lab: Any) -> None:
    plan = lab.plan()
    redis_plan = replace(plan.redis, maxmemory_policy=replace(plan.redis.maxmemory_policy, value="noeviction"))
    seen = redis(lab, 0, used_memory=str(int(0.93 * 67108864)))
    assert "93%" in lab.one(seen, "redis-is-full", replace(plan, redis=redis_plan)).symptom
    assert lab.diagnose(seen, plan) == []  # a cache that evicts may be full


def test_a_locked_cloud_of_fewer_nodes_than_planned(lab: Any) -> None:
    plan = lab.plan(three_nodes)
    assert plan.h2o is not None
    assert plan.h2o.nodes.value == 3
    locked = [f for f in lab.diagnose(h2o(lab, locked=True), plan) if f.anchor.startswith("h2o")]
    assert [f.anchor for f in locked] == ["h2o-is-locked"]
    assert "is a cloud of 2, and 3 nodes are planned" in locked[0].symptom
    short = [f for f in lab.diagnose(h2o(lab), plan) if f.anchor.startswith("h2o")]
    assert [f.anchor for f in short] == ["h2o-is-short"]


def test_a_cloud_that_fell_apart(lab: Any) -> None:
    seen = lab.healthy()
    waiting = [{**t, "phase": "waiting", "view": "gone", "cloud": None} for t in seen.h2o]
    assert "cloud of 0" in lab.one(replace(seen, h2o=tuple(waiting)), "h2o-is-short").symptom


def test_nothing_deployed_is_one_finding(lab: Any) -> None:
    empty = Snapshot(at=lab.at, namespaces=("headroom",))
    assert lab.one(empty, "part-is-not-deployed").symptom == "is not on this cluster"


def test_one_component_and_what_ails_the_cluster(lab: Any) -> None:
    seen = lab.change(
        lab.with_pod("oom"), "nodes", "", lambda n: condition(n, "Ready", status="Unknown", message="stopped posting")
    )
    plan = lab.plan()
    assert {f.anchor for f in diagnose(seen, plan, "redis").findings} == {"node-is-not-well"}
    assert {f.anchor for f in diagnose(seen, plan, "inference").findings} == {"node-is-not-well", "out-of-memory"}


def test_errors_come_first(lab: Any) -> None:
    seen = replace(at_bound(lab), failures=(ProbeFailure("redis", "pod redis-1", "silence"),))
    found = lab.diagnose(seen)
    assert [f.severity for f in found] == [Severity.error, Severity.warning]
