"""What `headroom verify` says of Redis: of nodes that are well, and of each thing that can be wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from headroom.capacity import plan as plans
from headroom.capacity.demand import from_config
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops import inside
from headroom.ops.verify import Scene, Verdict, redis

Reports = dict[str, dict[str, Any]]


def healthy(mode: str) -> Reports:
    """Three pods of Sentinel, or six of a Cluster, as `redis-node report` tells of them."""
    masters = 1 if mode == "sentinel" else 3
    found: Reports = {}
    for n in range(3 if mode == "sentinel" else 6):
        role = "master" if n < masters else "slave"
        own: dict[str, Any] = {
            "pod": f"redis-{n}",
            "role": role,
            "master_link_status": "up" if role == "slave" else None,
            "used_memory": "1000",
            "maxmemory": "10000",
        }
        if mode == "sentinel":
            own["sentinel"] = {
                "master": "redis-0.redis-headless.ml.svc",
                "epoch": 3,
                "quorum": "OK 3 usable Sentinels.",
            }
        else:
            own |= {"cluster_state": "ok", "slots_ok": 16384, "slots": 16384, "failed": [], "open_slots": False}
        found[f"redis-{n}"] = own
    return found


def judged(
    monkeypatch: pytest.MonkeyPatch, mode: str, change: Mapping[str, Mapping[str, Any]], **more: Any
) -> dict[str, Verdict]:
    """The verdict of every check when these fields of these pods are different; `{}` for a pod that does not answer."""
    reports = healthy(mode)
    for pod, fields in change.items():
        reports[pod] = {**reports[pod], **fields} if fields else {}

    def report(_kubectl: Kubectl, _namespace: str, pod: str) -> dict[str, Any]:
        if not reports[pod]:
            raise EnvironmentFailure("no answer")
        return reports[pod]

    monkeypatch.setattr(inside, "redis", report)
    config = {"headroom:environment": "prod", "headroom:namespace": "ml", "headroom:redis": {"mode": mode, **more}}
    scene = Scene(plans.make(from_config("test", config)), Kubectl(Path("kubectl"), Path("kubeconfig")), real_pods=True)
    return {finding.check: finding.verdict for finding in redis.redis(scene)}


@pytest.mark.parametrize(
    ("mode", "checks"),
    [
        ("sentinel", {"nodes", "masters", "quorum", "leader", "replication", "memory"}),
        ("cluster", {"nodes", "masters", "cluster_state", "slots", "replication", "memory"}),
    ],
)
def test_all_is_well(monkeypatch: pytest.MonkeyPatch, mode: str, checks: set[str]) -> None:
    assert judged(monkeypatch, mode, {}) == dict.fromkeys(checks, Verdict.passed)


SAYS_NO_QUORUM = {"master": "redis-0.redis-headless.ml.svc", "epoch": 3, "quorum": "NOQUORUM 1 usable Sentinels."}
SAYS_ANOTHER = {"master": "redis-2.redis-headless.ml.svc", "epoch": 4, "quorum": "OK 3 usable Sentinels."}


@pytest.mark.parametrize(
    ("mode", "change", "failed"),
    [
        ("sentinel", {"redis-1": {}}, {"nodes", "quorum", "replication"}),
        ("sentinel", {"redis-1": {"role": "master"}}, {"masters", "leader", "replication"}),
        (
            "sentinel",
            {"redis-0": {"role": "slave", "master_link_status": "down"}},
            {"masters", "leader", "replication"},
        ),
        ("sentinel", {"redis-2": {"sentinel": {"error": "refused"}}}, {"quorum"}),
        ("sentinel", {"redis-2": {"sentinel": SAYS_NO_QUORUM}}, {"quorum"}),
        ("sentinel", {"redis-2": {"sentinel": SAYS_ANOTHER}}, {"leader"}),
        ("sentinel", {"redis-2": {"master_link_status": "down"}}, {"replication"}),
        ("cluster", {"redis-4": {}}, {"nodes", "replication"}),
        ("cluster", {"redis-4": {"role": "master"}}, {"masters", "replication"}),
        ("cluster", {"redis-4": {"cluster_state": "fail"}}, {"cluster_state"}),
        ("cluster", {"redis-4": {"failed": ["redis-1.x"]}}, {"cluster_state"}),
        ("cluster", {"redis-4": {"slots_ok": 16383}}, {"slots"}),
        ("cluster", {"redis-4": {"open_slots": True}}, {"slots"}),
        ("cluster", {"redis-4": {"master_link_status": "down"}}, {"replication"}),
    ],
)
def test_what_is_wrong_is_said_where_it_is(
    monkeypatch: pytest.MonkeyPatch, mode: str, change: dict[str, dict[str, Any]], failed: set[str]
) -> None:
    found = judged(monkeypatch, mode, change)
    assert {check for check, verdict in found.items() if verdict is not Verdict.passed} == failed


def test_a_full_store_that_does_not_evict_has_no_headroom(monkeypatch: pytest.MonkeyPatch) -> None:
    full = {"redis-1": {"used_memory": "9500"}}
    assert judged(monkeypatch, "cluster", full)["memory"] is Verdict.passed, "a cache evicts"
    assert judged(monkeypatch, "cluster", full, durable=True)["memory"] is Verdict.failed
    assert judged(monkeypatch, "cluster", {}, durable=True)["memory"] is Verdict.passed
