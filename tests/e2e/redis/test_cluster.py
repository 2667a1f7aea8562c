"""Cluster mode under writes and reads: failovers, a restart of everything, growth and shrinking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from redis.crc import REDIS_CLUSTER_HASH_SLOTS as SLOTS
from redis.crc import key_slot

from headroom.errors import EnvironmentFailure, InputError
from headroom.local import faults

pytestmark = pytest.mark.e2e

PATIENT_MS = 1000
FAILOVER_SECONDS = 8
LOSS_SECONDS = 5.0


def healthy(redis: Any, masters: int, eventually: Callable[..., Any]) -> None:
    """Every pod sees all slots served by that many masters."""
    pods = 2 * masters

    def look() -> bool:
        reports = [redis.report(f"redis-{n}") for n in range(pods)]
        return all(
            (
                r.get("cluster_state"),
                r.get("slots_ok"),
                r.get("masters"),
                r.get("nodes"),
                r.get("failed"),
                r.get("open_slots"),
            )
            == ("ok", 16384, masters, pods, [], False)
            for r in reports
        )

    eventually(look, 120, lambda: str([redis.report(f"redis-{n}") for n in range(pods)]))


@pytest.mark.slow
@pytest.mark.parametrize("time_", range(5))
def test_a_master_is_killed(
    sharded: Any, ledger: Callable[..., Any], eventually: Callable[..., Any], time_: int
) -> None:
    healthy(sharded, 3, eventually)
    writing = ledger(sharded)
    before = sharded.masters()[time_ % 3]
    faults.kill(sharded.cluster, sharded.name, before, "redis")
    writing.writes_again()
    sharded.whole(6)
    healthy(sharded, 3, eventually)
    told, kept = writing.ask("tell"), writing.ask("check")
    print(told, kept)
    assert told["longest_gap_s"] <= FAILOVER_SECONDS
    assert kept["lost"] <= LOSS_SECONDS * 250


def test_all_pods_at_once(sharded: Any, ledger: Callable[..., Any], eventually: Callable[..., Any]) -> None:
    """Every address in nodes.conf is stale: they find each other by name."""
    writing = ledger(sharded)
    writing.ask("fill 1000")
    time.sleep(1.5)
    before = {p["metadata"]["name"]: p["status"]["podIP"] for p in sharded.pods()}
    sharded.kubectl.run("delete", "pod", *before, "-n", sharded.name, "--grace-period=0", "--force")
    sharded.whole(6)
    after = {p["metadata"]["name"]: p["status"]["podIP"] for p in sharded.pods()}
    assert not before.items() & after.items(), "their addresses are new"
    healthy(sharded, 3, eventually)
    writing.writes_again()
    kept = writing.ask("check")
    print(writing.ask("tell"), kept)
    assert kept["lost"] <= LOSS_SECONDS * 250


def override(masters: int) -> dict[str, Any]:
    return {"override": {"masters": {"value": masters, "because": "a test"}}}


def resized(redis: Any, masters: int) -> float:
    """Seconds that `headroom up` took to get there."""
    began = time.monotonic()
    redis.up(**override(masters))
    return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("keys", [3_000, 100_000])
def test_grows_and_shrinks_under_load(
    sharded: Any, ledger: Callable[..., Any], eventually: Callable[..., Any], keys: int
) -> None:
    """3 masters, 4, 3: no key lost, no error that the client's own redirects do not take care of."""
    writing = ledger(sharded, PATIENT_MS)
    writing.ask(f"fill {keys}")
    writing.ask("mark")
    time.sleep(3)
    still = writing.ask("tell")
    try:
        for masters in (4, 3):
            writing.ask("mark")
            seconds = resized(sharded, masters)
            told = writing.ask("tell")
            print(f"to {masters}: {seconds:.1f} s", told, "before:", still)
            assert (told["failed_writes"], told["failed_reads"]) == (0, 0), told
            healthy(sharded, masters, eventually)
        kept = writing.ask("check")
        assert (kept["lost"], kept["known"] > keys) == (0, True)
        assert len(sharded.pods()) == 6
        claims = {c["metadata"]["name"] for c in sharded.kubectl.items("persistentvolumeclaims", sharded.name)}
        assert claims == {f"data-redis-{n}" for n in range(8)}, "a claim is kept when its pod goes"
    finally:
        resized(sharded, 3)


@pytest.mark.slow
def test_the_jobs_are_killed_again_and_again(
    sharded: Any, ledger: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    """Whoever runs a resize dies every second; it gets there nevertheless."""
    writing = ledger(sharded)
    writing.ask("fill 30000")
    over, kills = threading.Event(), 0

    def murder() -> None:
        nonlocal kills
        wait = 0.5
        while not over.wait(wait):
            for pod in sharded.kubectl.items("pods", sharded.name, "app=redis-resize"):
                try:
                    kills += faults.kill(sharded.cluster, sharded.name, pod["metadata"]["name"])
                except (InputError, EnvironmentFailure, KeyError, OSError):
                    continue
            wait = min(wait + 0.5, 6)

    for masters in (4, 3):
        over.clear()
        killer = threading.Thread(target=murder)
        killer.start()
        try:
            resized(sharded, masters)
        finally:
            over.set()
            killer.join()
        healthy(sharded, masters, eventually)
    print(kills, writing.ask("tell"))
    assert kills > 3
    assert writing.ask("check")["lost"] == 0


@pytest.mark.slow
@pytest.mark.parametrize("time_", range(5))
def test_a_master_that_hangs(
    sharded: Any, ledger: Callable[..., Any], eventually: Callable[..., Any], time_: int
) -> None:
    healthy(sharded, 3, eventually)
    writing = ledger(sharded)
    before = sharded.masters()[time_ % 3]
    with faults.frozen(sharded.cluster, sharded.name, before):
        time.sleep(FAILOVER_SECONDS)
        writing.writes_again()
        told = writing.ask("tell")
    healthy(sharded, 3, eventually)
    kept = writing.ask("check")
    print(told, kept)
    assert told["longest_gap_s"] <= FAILOVER_SECONDS
    assert kept["lost"] <= LOSS_SECONDS * 250


@pytest.mark.slow
def test_a_master_that_is_cut_off_stops_accepting(
    sharded: Any, ledger: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    """No split brain past the node timeout: the minority knows that it is one, while the majority elects another."""
    healthy(sharded, 3, eventually)
    writing = ledger(sharded)
    before = sharded.masters()[0]
    key = own_key(sharded, before)
    assert sharded.cli(before, "SET", key, "whole") == "OK"
    others = [p["metadata"]["name"] for p in sharded.pods() if p["metadata"]["name"] != before]
    began = time.monotonic()
    with faults.cut_off(sharded.cluster, sharded.name, before):
        eventually(lambda: any(sharded.cli(pod, "SET", key, "other side") == "OK" for pod in others), 60)
        seconds = time.monotonic() - began
        time.sleep(max(0.0, LOSS_SECONDS + 2 - seconds))
        refused = sharded.cli(before, "SET", key, "split brain")
        assert "CLUSTERDOWN" in refused, refused
    healthy(sharded, 3, eventually)
    writing.writes_again()
    told, kept = writing.ask("tell"), writing.ask("check")
    print(f"the other side accepted after {seconds:.1f} s", told, kept)
    assert "other side" in [sharded.cli(pod, "GET", key) for pod in others]
    assert kept["lost"] <= LOSS_SECONDS * 250


def own_key(redis: Any, pod: str) -> str:
    """A key in a slot that a pod serves."""
    (line,) = [each for each in redis.cli(pod, "CLUSTER", "NODES").splitlines() if "myself" in each]
    first, _, last = line.split()[8].partition("-")
    return next(f"key-{n}" for n in range(SLOTS) if int(first) <= key_slot(f"key-{n}".encode()) <= int(last or first))


@pytest.mark.slow
def test_verify_says_what_is_lost(sharded: Any, eventually: Callable[..., Any]) -> None:
    """A master and its replica at once: their slots are served by nobody, and the others go on."""
    healthy(sharded, 3, eventually)
    eventually(lambda: not sharded.failing(), 60, lambda: str(sharded.failing()))
    before = sharded.masters()[0]
    names = sharded.cli(before, "INFO", "replication")
    (replica,) = [p["metadata"]["name"] for p in sharded.pods() if f"slave0:ip={p['status']['podIP']}," in names]
    with (
        faults.frozen(sharded.cluster, sharded.name, before),
        faults.frozen(sharded.cluster, sharded.name, replica),
    ):
        told = eventually(
            lambda: found if "slots" in (found := sharded.failing()) else None, 60, lambda: str(sharded.failing())
        )
        assert set(told) == {"nodes", "masters", "cluster_state", "slots", "replication"}
    healthy(sharded, 3, eventually)
    eventually(lambda: not sharded.failing(), 60, lambda: str(sharded.failing()))


@pytest.mark.slow
def test_a_rolling_update_fails_no_read(
    sharded: Any, ledger: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    writing = ledger(sharded, PATIENT_MS)
    sharded.kubectl.run("rollout", "restart", "statefulset/redis", "-n", sharded.name)
    sharded.kubectl.run("rollout", "status", "statefulset/redis", "-n", sharded.name, timeout=600)
    healthy(sharded, 3, eventually)
    told, kept = writing.ask("tell"), writing.ask("check")
    print(told, kept)
    assert (told["failed_reads"], kept["lost"]) == (0, 0)
