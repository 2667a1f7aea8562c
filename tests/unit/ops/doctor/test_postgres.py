"""Shards without a primary or connections, standbys behind, and buckets that do not move."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headroom.ops.doctor import Snapshot
from headroom.ops.doctor.snapshot import PoolerNode, Standby
from headroom.ops.reshard import Moving, Shard, State


def standbys(lab: Any, *found: Standby, paused: bool = False) -> Snapshot:
    """The stack, its primary with these standbys."""
    seen: Snapshot = lab.healthy()
    standby, primary = seen.postgres
    return replace(seen, postgres=(replace(standby, paused=paused), replace(primary, standbys=found)))


def moving(lab: Any, *, working: bool, paused: bool = False, **of: Any) -> Snapshot:
    """The stack, one bucket on its way."""
    fields = {"step": "done", "idle": 1.0, "verified": True, **of}
    move = Moving(
        bucket=7, source=0, target=1, attempt=1, bytes=1, copied=1, pause_ms=None, said="", took=1.0, **fields
    )
    seen: Snapshot = lab.healthy()
    return replace(seen, moves=(State(3, (0,) * 256, paused, False, working, (move,)),))


def test_a_bouncer_without_room_for_clients(lab: Any) -> None:
    seen = replace(lab.healthy(), poolers=(PoolerNode("pgbouncer-x", 950, 1000, 0, 0.0),))
    lab.explains(seen, "connections-are-used-up", "has 950 of the 1,000 clients")


def test_clients_that_wait_for_a_server(lab: Any) -> None:
    seen = replace(lab.healthy(), poolers=(PoolerNode("pgbouncer-x", 40, 1000, 12, 7.0),))
    assert "12 clients wait" in lab.one(seen, "connections-are-used-up").symptom


def test_a_shard_without_connections(lab: Any) -> None:
    seen = lab.healthy()
    standby, primary = seen.postgres
    seen = replace(seen, postgres=(standby, replace(primary, connections=97)))
    assert "97 of 100" in lab.one(seen, "connections-are-used-up").symptom


def test_no_primary(lab: Any) -> None:
    nodes = tuple(replace(n, primary=False, standbys=()) for n in lab.healthy().postgres)
    lab.explains(replace(lab.healthy(), postgres=nodes), "shard-has-no-primary", "so nothing can be written")


def test_two_primaries(lab: Any) -> None:
    seen = lab.healthy()
    standby, primary = seen.postgres
    seen = replace(seen, postgres=(replace(standby, primary=True), primary))
    found = [f for f in lab.diagnose(seen) if f.anchor == "shard-has-no-primary"]
    assert "2 primaries" in found[0].symptom


def test_a_standby_that_is_behind(lab: Any) -> None:
    seen = standbys(lab, Standby("pg-shard-0-0", "streaming", "sync", 64 * 2**20))
    lab.explains(seen, "replication-lags", "pg-shard-0-0 is 64 MiB behind")


def test_paused_replay_is_told_once_with_its_cause(lab: Any) -> None:
    seen = standbys(lab, Standby("pg-shard-0-0", "streaming", "sync", 64 * 2**20), paused=True)
    found = lab.one(seen, "replication-lags")
    assert "pg_wal_replay_resume" in found.fix
    assert "67,108,864 bytes behind" in found.evidence[0]


def test_a_standby_that_is_gone(lab: Any) -> None:
    lab.explains(standbys(lab), "standby-does-not-follow", "0 of 1 standbys stream")


def test_buckets_that_nobody_moves(lab: Any) -> None:
    seen = moving(lab, working=False, step="following", idle=30)
    lab.explains(seen, "buckets-do-not-move", "1 buckets are on their way and no mover works")


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


def test_map_and_fence_that_disagree(lab: Any) -> None:
    every = tuple(range(256))
    seen = replace(moving(lab, working=False), shards=(Shard(0, 3, every, every[:-1], ()),))
    lab.explains(seen, "buckets-do-not-agree", "its buckets are not those of the map")
    assert "GRANT USAGE ON SCHEMA b255 TO features" in lab.one(seen, "buckets-do-not-agree").fix
    assert " pg-shard-0-1 -c postgres " in lab.one(seen, "buckets-do-not-agree").fix, "its primary"
    fine = replace(moving(lab, working=False), shards=(Shard(0, 3, every, every, ()),))
    assert lab.diagnose(fine) == []


def test_what_a_shard_has_recorded_is_its_bootstraps_to_put_right(lab: Any) -> None:
    every = tuple(range(256))
    for strange in (Shard(0, 3, every[1:], every, ()), Shard(0, 2, every, every, ())):
        found = lab.one(replace(moving(lab, working=False), shards=(strange,)), "buckets-do-not-agree")
        assert found.fix.startswith("kubectl delete jobs -n headroom -l app=pg-bootstrap; headroom up")


def test_a_slot_of_no_move(lab: Any) -> None:
    every = tuple(range(256))
    left = Shard(0, 3, every, every, ("slot hr_b007_0a0b0c0d", "slot hr_b009_0a0b0c0d"))
    seen = replace(moving(lab, working=True, step="copying"), shards=(left,))
    assert lab.one(seen, "buckets-do-not-agree").evidence == ("slot hr_b009_0a0b0c0d",), "bucket 7 is on its way"
