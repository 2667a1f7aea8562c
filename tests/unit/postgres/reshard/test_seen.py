"""What people see of moves: the questions of `headroom reshard`, `verify` and `preview`, asked of real servers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from shard.reshard import mover  # type: ignore[import-not-found]
from shard.reshard.context import Context  # type: ignore[import-not-found]
from shard.reshard.lease import Lease  # type: ignore[import-not-found]

from headroom.capacity import demand, plan
from headroom.errors import InputError
from headroom.kubectl import Kubectl
from headroom.ops import reshard
from headroom.ops.verify import Scene, Verdict, buckets

CONFIG = {
    "environment": "dev",
    "postgres": {
        "demand": {"dataset": "1TB", "writesPerSecond": 1000},
        "shard": {"capacity": "2TB", "memory": "8Gi"},
        "override": {"shards": {"value": 3, "because": "a test"}},
    },
}


class Pods(Kubectl):
    """Pods whose psql asks the test's servers."""

    fleet: Any

    def items(self, _kind: str, _namespace: str = "", selector: str = "") -> list[dict[str, Any]]:
        shard = selector.removeprefix("app=pg-shard-").partition(",")[0]
        return [{"metadata": {"name": f"pg-shard-{shard}-0"}, "status": {"phase": "Running"}}]

    def find(self, kind: str, name: str, _namespace: str = "") -> dict[str, Any] | None:
        from components.postgres.settings import bucket_map  # noqa: PLC0415

        return {"kind": kind, "metadata": {"name": name}, "data": {"map.json": bucket_map(3)}}

    def run(self, *args: str, **_: Any) -> subprocess.CompletedProcess[str]:
        command = list(args[args.index("--") + 1 :])
        assert command[0] == "psql"
        number = int(args[3].split("-")[2])
        command[command.index("-d") + 1] = self.fleet.database
        command[1:1] = ["-h", "127.0.0.1", "-p", str(self.fleet.ports[number])]
        return subprocess.run(command, capture_output=True, text=True, check=True)


@pytest.fixture
def kubectl(grown: Any) -> Pods:
    made = Pods(Path("kubectl"), Path("kubeconfig"))
    object.__setattr__(made, "fleet", grown)
    return made


def test_before_during_and_after_a_resize(grown: Any, kubectl: Pods, eventually: Callable[..., None]) -> None:
    grown.fill(1_000)
    sized = plan.make(demand.from_config("test", CONFIG))
    assert sized.postgres is not None
    seen = reshard.foresee(kubectl, sized.postgres)
    assert seen is not None and len(seen.buckets) == 6 and seen.bytes > 0
    assert set(seen.pairs) == {(0, 2), (1, 2)}
    assert "6 of 256 buckets move" in reshard.in_words(seen)[0]
    scene = Scene(sized, kubectl, real_pods=True)
    failed = [(f.component, f.check) for f in buckets.buckets(scene) if f.verdict is Verdict.failed]
    assert failed == [("postgres", "bucket map")], "it is not even, and nobody works at it"
    with pytest.raises(InputError, match="no bucket is on its way"):
        reshard.abort(kubectl, "ns")

    during: list[reshard.State] = []
    verdicts: list[Verdict] = []

    def look(point: str, _bucket: int) -> None:
        if point == "following" and not during:
            during.append(reshard.state(kubectl, "ns"))
            verdicts.extend(f.verdict for f in buckets.buckets(scene))
            reshard.wish(kubectl, "ns", paused=True)
            assert reshard.state(kubectl, "ns").paused
            reshard.wish(kubectl, "ns", paused=False)

    lease = Lease(grown.server(0), "one")
    mover.run(Context(grown.servers, "one", reached=look), lease, 3, 1)
    (now,) = during
    assert now.working and len(now.unfinished) == 6
    assert [m.step for m in now.moves].count("following") == 1
    assert Verdict.failed not in verdicts, "a move that goes on is no failure"
    lease.give_up()

    eventually(
        lambda: not reshard.state(kubectl, "ns").working
    )  # PostgreSQL sees a moment later that the holder is gone
    after = reshard.state(kubectl, "ns")
    assert not after.unfinished and after.owners == grown.map().owners
    assert all(m.verified and m.pause_ms for m in after.moves)
    assert reshard.foresee(kubectl, sized.postgres) is None
    assert {f.verdict for f in buckets.buckets(scene)} == {Verdict.passed}


def test_what_a_move_left_behind_is_found(grown: Any, kubectl: Pods) -> None:
    sized = plan.make(demand.from_config("test", CONFIG))
    mover.run(Context(grown.servers, "one"), Lease(grown.server(0), "one"), 3, 1)
    grown.sql(1, "SELECT pg_create_logical_replication_slot('hr_b007_0a0b0c0d', 'pgoutput')")
    grown.sql(2, "DELETE FROM headroom.bucket WHERE bucket = (SELECT max(bucket) FROM headroom.bucket)")
    found = [f for f in buckets.buckets(Scene(sized, kubectl, real_pods=True)) if f.verdict is Verdict.failed]
    assert {(f.component, f.check) for f in found} == {("pg-shard-1", "left by moves"), ("pg-shard-2", "fences")}
    assert "hr_b007_0a0b0c0d" in next(f.evidence for f in found if f.check == "left by moves")
    assert replace(found[0]).fix
