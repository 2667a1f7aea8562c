"""A Cluster made, grown, shrunk, and its Jobs cut off, on real servers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from headroom_redis import moves, nodes, resize, topology  # type: ignore[import-not-found]

KEYS = 300


def shape(fleet: Any, pods: int) -> dict[int, tuple[str, int]]:
    """By pod: its role, and how many slots it serves."""
    found = {}
    for n in range(pods):
        own = nodes.me(nodes.parse(fleet.call(n, "CLUSTER", "NODES")))
        found[n] = ("master" if own.is_master else "replica", own.count)
    return found


def count(fleet: Any, pods: int) -> int:
    return sum(fleet.call(n, "DBSIZE") for n in range(pods) if shape(fleet, pods)[n][0] == "master")


def put(fleet: Any, pods: int) -> None:
    """Keys on every master, written where their slot is."""
    tables = [nodes.me(nodes.parse(fleet.call(n, "CLUSTER", "NODES"))) for n in range(pods)]
    for i in range(KEYS):
        slot = fleet.call(0, "CLUSTER", "KEYSLOT", f"key-{i}")
        (owner,) = [n for n, t in enumerate(tables) if any(a <= slot <= b for a, b in t.slots) and t.is_master]
        fleet.call(owner, "SET", f"key-{i}", i)


@pytest.fixture
def cluster(fleet: Callable[[str], Any]) -> Any:
    """Three masters with a replica each, and some keys."""
    made = fleet("cluster")
    made.start(*range(6))
    assert resize.fill(made.job(3)) == 0
    put(made, 6)
    made.replicas = 6
    return made


def test_made_of_empty_pods(cluster: Any) -> None:
    found = shape(cluster, 6)
    assert [found[n] for n in range(3)] == [("master", 5461), ("master", 5462), ("master", 5461)]
    assert {found[n] for n in range(3, 6)} == {("replica", 0)}
    assert count(cluster, 6) == KEYS
    before = cluster.call(0, "CLUSTER", "NODES").count("\n")
    assert resize.fill(cluster.job(3)) == 0, "again: nothing to do"
    assert resize.drain(cluster.job(3)) == 0
    assert (shape(cluster, 6), before) == (found, 6)


def test_grows_and_shrinks_without_losing_a_key(cluster: Any) -> None:
    cluster.start(6, 7)
    cluster.replicas = 8
    assert resize.fill(cluster.job(4)) == 0
    found = shape(cluster, 8)
    assert sorted(slots for role, slots in found.values() if role == "master") == [4096] * 4
    assert [role for role, _ in found.values()].count("replica") == 4
    assert (count(cluster, 8), cluster.record) == (KEYS, {})
    assert resize.drain(cluster.job(3)) == 0
    assert {slots for _, slots in [shape(cluster, 8)[n] for n in (6, 7)]} == {0}
    assert all(len(nodes.parse(cluster.call(n, "CLUSTER", "NODES"))) == 1 for n in (6, 7)), "out of the cluster"
    assert all(len(nodes.parse(cluster.call(n, "CLUSTER", "NODES"))) == 6 for n in range(6))
    assert count(cluster, 6) == KEYS
    assert resize.drain(cluster.job(3)) == 0, "again: nothing to do"


def test_shrinks_when_the_pods_that_go_lead_shards_that_stay(cluster: Any, eventually: Callable[..., None]) -> None:
    cluster.start(6, 7)
    cluster.replicas = 8
    assert resize.fill(cluster.job(4)) == 0
    # The last pods come to follow and to lead what pods that stay had.
    leads = {nodes.me(nodes.parse(cluster.call(n, "CLUSTER", "NODES"))).id: n for n in range(8)}
    master = nodes.me(nodes.parse(cluster.call(0, "CLUSTER", "NODES"))).id
    follower = next(n for n in (6, 7) if shape(cluster, 8)[n][0] == "replica")
    cluster.call(follower, "CLUSTER", "REPLICATE", master)
    eventually(lambda: "master_link_status:up" in cluster.call(follower, "INFO", "replication"))
    eventually(lambda: cluster.call(follower, "CLUSTER", "FAILOVER") and shape(cluster, 8)[follower][0] == "master")
    assert leads[master] == 0
    eventually(lambda: shape(cluster, 8)[0][0] == "replica")
    assert resize.drain(cluster.job(3)) == 0
    assert count(cluster, 6) == KEYS
    assert sum(slots for role, slots in shape(cluster, 6).values() if role == "master") == 16384
    assert [role for role, _ in shape(cluster, 6).values()].count("master") == 3


def test_goes_on_where_a_move_was_cut_off(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.start(6, 7)
    cluster.replicas = 8
    assert resize.fill(cluster.job(4)) == 0
    # As a killed Job leaves it: a slot open at both ends, some of its keys moved, and the record.
    tables = [nodes.me(nodes.parse(cluster.call(n, "CLUSTER", "NODES"))) for n in range(8)]
    source, target = (n for n, t in enumerate(tables[:2]))
    slot = next(
        s
        for a, b in tables[source].slots
        for s in range(a, b + 1)
        if cluster.call(source, "CLUSTER", "COUNTKEYSINSLOT", s)
    )
    cluster.call(target, "CLUSTER", "SETSLOT", slot, "IMPORTING", tables[source].id)
    cluster.call(source, "CLUSTER", "SETSLOT", slot, "MIGRATING", tables[target].id)
    assert resize.fill(cluster.job(4)) == 1, "nobody of ours opened it"
    assert "no resize of ours began it" in capsys.readouterr().err
    cluster.record[moves.MOVING] = "by a Job that is gone"
    assert resize.drain(cluster.job(3)) == 0
    assert (count(cluster, 6), cluster.record) == (KEYS, {})


def test_killed_before_every_change_and_run_again(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run of a Job dies when it is about to make its second change; so every change is the last one of a run."""

    class Killed(BaseException):
        pass

    made: list[str] = []
    real = topology.Cluster.call
    changing = {"MEET", "ADDSLOTSRANGE", "REPLICATE", "FORGET", "RESET", "FAILOVER", "SET-CONFIG-EPOCH"}

    def call(self: Any, ordinal: int, *words: str | int) -> Any:
        if len(words) > 1 and words[1] in changing:
            if len(made) == 1:
                raise Killed
            made.append(str(words[1]))
        return real(self, ordinal, *words)

    def until_done(run: Callable[..., int], masters: int) -> int:
        for runs in range(1, 60):
            made.clear()
            try:
                assert run(cluster.job(masters)) == 0
            except Killed:
                continue
            return runs
        raise AssertionError("it does not get there")

    cluster.start(6, 7)
    cluster.replicas = 8
    monkeypatch.setattr(topology.Cluster, "call", call)
    assert until_done(resize.fill, 4) > 2
    assert sorted(slots for role, slots in shape(cluster, 8).values() if role == "master") == [4096] * 4
    assert until_done(resize.drain, 3) > 2
    assert count(cluster, 6) == KEYS
    assert all(len(nodes.parse(cluster.call(n, "CLUSTER", "NODES"))) == 6 for n in range(6))


def test_a_shrink_below_the_data_is_refused(cluster: Any, capsys: pytest.CaptureFixture[str]) -> None:
    cluster.start(6, 7)
    cluster.replicas = 8
    assert resize.fill(cluster.job(4)) == 0
    for n in range(8):
        cluster.call(n, "CONFIG", "SET", "maxmemory", 10_000)
    assert resize.drain(cluster.job(3)) == 1
    assert "delete data, or keep more masters" in capsys.readouterr().err
    assert sorted(slots for role, slots in shape(cluster, 8).values() if role == "master") == [4096] * 4


def test_a_pod_with_keys_of_its_own_does_not_join(
    cluster: Any, capsys: pytest.CaptureFixture[str], eventually: Callable[..., None]
) -> None:
    cluster.start(6, 7)
    cluster.call(7, "CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    eventually(lambda: cluster.call(7, "SET", "mine", "yes") == "OK")
    assert resize.fill(cluster.job(4)) == 1
    assert "holds keys of its own" in capsys.readouterr().err
