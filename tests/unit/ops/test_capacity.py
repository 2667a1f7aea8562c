"""Room on a cluster as the API tells it."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.capacity.plan.pods import Size
from headroom.ops.scale import capacity
from headroom.ops.scale.capacity import Room

GI = 1024**3
POD = Size(cpu=1000, memory=2 * GI, cpu_limit=2000, memory_limit=4 * GI)


def node(**spec: Any) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": "True"}]
    return {"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": conditions}}


def test_pods_fit_whole_into_nodes_and_not_into_their_sum() -> None:
    rooms = [Room("a", 1500, 8 * GI, 10), Room("b", 1500, 8 * GI, 10)]  # three cores in all, two pods
    assert capacity.shortage(rooms, POD, 2) == ""
    assert "room for 2" in capacity.shortage(rooms, POD, 3)


@pytest.mark.parametrize(
    ("room", "fits"),
    [
        (Room("n", 4000, 2 * GI, 10), 1),
        (Room("n", 4000, 8 * GI, 3), 3),
        (Room("n", -500, 8 * GI, 3), 0),
        (Room("n", 4000, 8 * GI, 0), 0),
    ],
)
def test_the_scarcest_decides(room: Room, fits: int) -> None:
    assert room.fits(POD) == fits


def test_without_any_node_it_says_so() -> None:
    assert "room for 0" in capacity.shortage([], POD, 1)


@pytest.mark.parametrize(
    ("found", "usable"),
    [
        (node(), True),
        (node(unschedulable=True), False),
        (node(taints=[{"key": "k", "effect": "NoSchedule"}]), False),
        (node(taints=[{"key": "k", "effect": "PreferNoSchedule"}]), True),
        ({**node(), "status": {"conditions": [{"type": "Ready", "status": "Unknown"}]}}, False),
    ],
)
def test_only_nodes_that_take_pods_count(found: dict[str, Any], usable: bool) -> None:
    assert capacity.usable(found) is usable


def test_a_pod_requests_its_containers_together_or_its_largest_start() -> None:
    def container(cpu: str, memory: str) -> dict[str, Any]:
        return {"resources": {"requests": {"cpu": cpu, "memory": memory}}}

    spec = {"containers": [container("250m", "128Mi"), container("1", "1Gi"), {}]}
    assert capacity.requested({"spec": spec}) == (1250, 128 * 1024**2 + GI)
    spec["initContainers"] = [container("2", "64Mi")]
    assert capacity.requested({"spec": spec}) == (2000, 128 * 1024**2 + GI)


def quota(name: str, hard: dict[str, str], used: dict[str, str]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "status": {"hard": hard, "used": used}}


@pytest.mark.parametrize(
    ("hard", "used", "breaks"),
    [
        ({"pods": "5"}, {"pods": "3"}, False),
        ({"pods": "5"}, {"pods": "4"}, True),
        ({"requests.cpu": "4"}, {"requests.cpu": "2500m"}, True),
        ({"requests.cpu": "4"}, {"requests.cpu": "2"}, False),
        ({"limits.memory": "10Gi"}, {"limits.memory": "2148Mi"}, True),
        ({"memory": "17179869184"}, {}, False),
        ({"services": "0"}, {"services": "0"}, False),
    ],
)
def test_a_quota_of_somebodys_is_heeded(hard: dict[str, str], used: dict[str, str], breaks: bool) -> None:
    assert bool(capacity.exceeded([quota("finance", hard, used)], POD, 2)) is breaks


def test_our_own_quota_grows_with_the_plan() -> None:
    assert capacity.exceeded([quota("headroom-quota", {"pods": "1"}, {"pods": "1"})], POD, 9) == []
