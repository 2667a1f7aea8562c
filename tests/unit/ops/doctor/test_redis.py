"""Redis without a leader, replicas or slots, and caches that are too large or full."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headroom.ops.doctor import Severity


def test_no_leader(lab: Any) -> None:
    lab.explains(lab.redis(0, role="slave", master_link_status="up"), "redis-has-no-leader", "0 masters")


def test_a_replica_without_its_master(lab: Any) -> None:
    lab.explains(lab.redis(1, master_link_status="down"), "redis-replica-does-not-follow", "redis-1")


def test_the_sentinel_that_is_missing_is_named(lab: Any) -> None:
    def without_1(**fields: Any) -> Any:
        seen = lab.redis(1, **fields)
        return seen if fields else replace(seen, redis=(seen.redis[0], seen.redis[2]))

    silent = lab.explains(
        without_1(), "redis-has-no-leader", "2 of 3 sentinels agree on a quorum; not redis-1", Severity.warning
    )
    assert "redis-1 -c sentinel" in silent.fix
    refused = lab.one(without_1(sentinel={"error": "refused"}), "redis-has-no-leader")
    assert "not redis-1" in refused.symptom
    assert refused.evidence == ("redis-1: refused",)


def test_a_maxmemory_that_may_fill_its_container(lab: Any) -> None:
    lab.one(lab.redis(0, maxmemory=str(2**30)), "cache-does-not-fit-its-pod")


def test_a_cache_that_was_told_to_grow_too_large(lab: Any) -> None:
    """As an inferadb service of 512Mi: 250,000 entries fit."""
    seen = lab.change(
        lab.healthy(),
        "config_maps",
        "inference-config",
        lambda c: c["data"].update(INFERADB__CACHE__MAX_CAPACITY="2000000"),
    )
    words = "may cache 2,000,000 entries, and its memory is enough for 250,000"
    assert words in lab.one(seen, "cache-does-not-fit-its-pod").symptom


def test_a_store_that_does_not_evict_is_nearly_full(lab: Any) -> None:
    plan = lab.plan()
    redis_plan = replace(plan.redis, maxmemory_policy=replace(plan.redis.maxmemory_policy, value="noeviction"))
    seen = lab.redis(0, used_memory=str(int(0.93 * 67108864)))
    assert "93%" in lab.one(seen, "redis-is-full", replace(plan, redis=redis_plan)).symptom
    assert lab.diagnose(seen, plan) == []  # a cache that evicts may be full


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
