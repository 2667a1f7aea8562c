"""A primary dies, freezes, is cut off or hands over, under a continuous write load: nothing acknowledged is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import psycopg
import pytest

from bench.postgres.faults import FAULTS, cut_from_api, suffer, switch_over
from bench.postgres.ledger import Ledger
from bench.postgres.site import NAMESPACE, Site, delete_pod, until
from components.postgres.settings import TTL_S
from headroom.local import faults

pytestmark = pytest.mark.e2e

# Of one machine that does everything at once; what is promised is measured by the benchmark.
PATIENCE = 4
Acknowledged = list[tuple[float, float]]


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if i else n for i, n in enumerate(FAULTS)])
def test_a_primary_fails_and_no_acknowledged_write_is_lost(settled: Site, name: str) -> None:
    outcome = suffer(settled, 0, name)
    assert outcome.leader != outcome.former
    assert outcome.lost == 0
    assert outcome.acknowledged >= 400
    assert outcome.outage_s < PATIENCE * FAULTS[name][1]


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(5))
@pytest.mark.parametrize("name", FAULTS)
def test_again_and_again(settled: Site, name: str, turn: int) -> None:
    outcome = suffer(settled, turn % 2, name)
    assert outcome.lost == 0
    assert outcome.outage_s < PATIENCE * FAULTS[name][1]


def test_a_planned_switchover_loses_nothing(settled: Site) -> None:
    outcome = switch_over(settled, 1)
    assert outcome.leader != outcome.former
    assert outcome.lost == 0


def test_a_standby_that_dies_stops_no_writes_for_long_and_comes_back(
    settled: Site, ledger: Callable[..., Ledger], nothing_lost: Callable[[Ledger], None]
) -> None:
    leader = settled.leader(0)
    assert leader is not None
    standby = settled.other(0, leader)
    written = ledger(0)
    with written.writing():
        written.wait_for(100)
        delete_pod(settled, standby, grace=1)
        until(lambda: settled.sync(0) != standby, 60, "it degrades to one copy")
        written.wait_for(100)
        settled.settle(0)
        written.wait_for(100)
    assert settled.leader(0) == leader
    nothing_lost(written)


@pytest.mark.slow
def test_a_whole_shard_restarts_with_everything_it_acknowledged(
    settled: Site, ledger: Callable[..., Ledger], nothing_lost: Callable[[Ledger], None]
) -> None:
    written = ledger(1)
    with written.writing():
        written.wait_for(200)
        for pod in ("pg-shard-1-0", "pg-shard-1-1"):
            faults.kill(settled.cluster, NAMESPACE, pod)
        written.wait_for(200, seconds=120)
    nothing_lost(written)


@pytest.mark.slow
def test_the_node_s_kubelet_and_containerd_restart_under_load(
    settled: Site, ledger: Callable[..., Ledger], nothing_lost: Callable[[Ledger], None]
) -> None:
    written = ledger(0)
    with written.writing():
        written.wait_for(200)
        for part in ("kubelet", "containerd"):
            faults.restart(settled.cluster, part)  # type: ignore[arg-type]
        written.wait_for(200, seconds=120)
    nothing_lost(written)


def writers(site: Site, stop: threading.Event, *pods: str) -> tuple[list[threading.Thread], dict[str, Acknowledged]]:
    """A writer in each pod, through the pod's own socket, as a client beside it would; what was acknowledged, and when
    it had begun and ended. A commit whose wait for the standby was given up says so: that is no acknowledgement."""
    acknowledged: dict[str, Acknowledged] = {pod: [] for pod in pods}
    statement = "SET statement_timeout = '2s'; UPDATE headroom.shard SET number = number RETURNING 'written'"

    def write(pod: str) -> None:
        while not stop.is_set():
            began = time.monotonic()
            command = ["psql", "-U", "postgres", "-d", "features", "-XAtq", "-v", "ON_ERROR_STOP=1", "-c", statement]
            done = site.kubectl.run(
                *("exec", "-n", NAMESPACE, pod, "-c", "postgres", "--", *command), timeout=60, check=False
            )
            if done.returncode == 0 and "written" in done.stdout and "WARNING" not in done.stderr:
                acknowledged[pod].append((began, time.monotonic()))

    return [threading.Thread(target=write, args=(pod,), daemon=True) for pod in pods], acknowledged


def test_two_primaries_never_acknowledge_writes(settled: Site) -> None:
    """A primary that is cut off from everything is asked to write while its successor writes. A commit that only one of
    them ever had may be on one side alone."""
    former = settled.leader(0)
    assert former is not None
    heir = settled.other(0, former)
    stop = threading.Event()
    threads, acknowledged = writers(settled, stop, former, heir)
    with faults.cut_off(settled.cluster, NAMESPACE, former):
        cut = time.monotonic()
        for thread in threads:
            thread.start()
        until(lambda: settled.leader(0) == heir, 60, f"{heir} leads")
        until(lambda: bool(acknowledged[heir]), 60, f"{heir} writes")
        time.sleep(5)
        stop.set()
        for thread in threads:
            thread.join(60)
    settled.settle(0, 180)
    # What the former one began after the first success of its heir was never acknowledged.
    first = acknowledged[heir][0][1]
    late = [began - cut for began, done in acknowledged[former] if done > first]
    assert late == []


def test_a_primary_that_only_the_api_server_lost_goes_on_and_nobody_else_leads(
    settled: Site, ledger: Callable[..., Ledger], nothing_lost: Callable[[Ledger], None]
) -> None:
    """Its lock runs out, and its standby says that it is there: it goes on, and the standby is not promoted."""
    former = settled.leader(0)
    assert former is not None
    heir = settled.other(0, former)
    stop = threading.Event()
    threads, acknowledged = writers(settled, stop, former, heir)
    written = ledger(0, deadline_s=10.0)
    with written.writing():
        written.wait_for(50)
        with cut_from_api(settled, former):
            cut = time.monotonic()
            for thread in threads:
                thread.start()
            time.sleep(2 * TTL_S)
            written.wait_for(50)
            stop.set()
            for thread in threads:
                thread.join(60)
        written.wait_for(50)
    assert acknowledged[heir] == []
    assert max(done for _, done in acknowledged[former]) > cut + 1.5 * TTL_S
    assert settled.leader(0) == former
    nothing_lost(written)


def test_a_database_that_is_down_gives_a_typed_error_within_the_deadline(settled: Site) -> None:
    import asyncio  # noqa: PLC0415

    from inference.deadline import Deadline  # noqa: PLC0415
    from inference.shards import FixedMap, ShardError, Shards  # noqa: PLC0415

    async def read() -> float:
        async with Shards(settled.address(), buckets=FixedMap(settled.map())) as shards:
            keys = [f"key-{n}" for n in range(50)]
            select = "SELECT entity_id FROM {schema}.features WHERE entity_id = ANY(%s)"
            began = time.monotonic()
            with pytest.raises(ShardError):
                await shards.read(keys, select, Deadline.after(1.5))
            return time.monotonic() - began

    with (
        faults.frozen(settled.cluster, NAMESPACE, "pg-shard-1-0"),
        faults.frozen(settled.cluster, NAMESPACE, "pg-shard-1-1"),
    ):
        took = asyncio.run(read())
    assert took < 1.5 * PATIENCE
    settled.settle(1)
    with psycopg.connect(settled.direct(1)) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
