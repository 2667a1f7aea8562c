"""Sentinel mode under writes and reads: who leads, how fast that changes, and what is lost."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from headroom.local import faults

pytestmark = pytest.mark.e2e

PATIENT_MS = 1000
FAILOVER_SECONDS = 10
"""The promise, from the kill to an acknowledged write."""
LOSS_SECONDS = 7.0
"""What was acknowledged without a replica is at most this old: min-replicas-max-lag is 5, in whole seconds of which one
has begun at either end, and the server looks once a second."""


def leader(redis: Any, eventually: Callable[..., Any]) -> str:
    """The one master, by every pod's word, the sentinels' and the Service's."""

    def look() -> str | None:
        reports = [redis.report(p["metadata"]["name"]) for p in redis.pods()]
        masters = [r["pod"] for r in reports if r.get("role") == "master"]
        told = {r.get("sentinel", {}).get("master", "").partition(".")[0] for r in reports}
        labelled = [
            p["metadata"]["name"] for p in redis.pods() if p["metadata"]["labels"].get("headroom.dev/role") == "master"
        ]
        return masters[0] if len(masters) == 1 and told == set(masters) and labelled == masters else None

    found: str = eventually(look, 60)
    return found


# Runs in the exporter's container: it asks the exporter to log in elsewhere, and prints what arrives there.
ELSEWHERE = """
import json, socket, sys, threading, urllib.request
own = "http://127.0.0.1:9121"
up = [l for l in urllib.request.urlopen(own + "/metrics").read().decode().splitlines() if l.startswith("redis_up ")]
caught = []
listening = socket.create_server(("127.0.0.1", 0))
def listen():
    while True:
        one = listening.accept()[0]
        one.settimeout(2)
        try:
            while data := one.recv(4096):
                caught.append(data.decode())
                one.sendall(b"+OK\\r\\n")
        except OSError:
            pass
threading.Thread(target=listen, daemon=True).start()
port = listening.getsockname()[1]
for place in (f"127.0.0.1:{port}", f"redis://127.0.0.1:{port}", f"redis://monitor@127.0.0.1:{port}",
              f"redis://127.0.0.1:6379@127.0.0.1:{port}", f"redis://localhost:{port}"):
    urllib.request.urlopen(f"{own}/scrape?target={place}", timeout=30).read()
print(json.dumps({"up": up, "caught": caught, "password": open("/etc/redis-auth/redisMonitor").read().strip()}))
"""


def test_the_exporter_logs_in_nowhere_but_here(sentinel: Any) -> None:
    """Its page `/scrape?target=` goes wherever the caller says; the password does not go with it."""
    done = sentinel.kubectl.run(
        "exec", "-i", "-n", sentinel.name, "redis-0", "-c", "exporter", "--", "python3", "-", stdin=ELSEWHERE
    )
    found = json.loads(done.stdout)
    assert found["up"] == ["redis_up 1"]
    assert found["caught"], "it does go there"
    assert found["password"] not in "".join(found["caught"])
    assert "AUTH" not in "".join(found["caught"])


@pytest.mark.slow
@pytest.mark.parametrize("time_", range(5))
def test_the_master_is_killed(
    sentinel: Any, ledger: Callable[..., Any], eventually: Callable[..., Any], time_: int
) -> None:
    """SIGKILL: the kubelet starts it again, or another leads before that. Either way there is one."""
    writing = ledger(sentinel)
    before = leader(sentinel, eventually)
    faults.kill(sentinel.cluster, sentinel.name, before, "redis")
    writing.writes_again()
    sentinel.whole(3)
    leader(sentinel, eventually)
    told, kept = writing.ask("tell"), writing.ask("check")
    print(told, kept)
    assert told["longest_gap_s"] <= FAILOVER_SECONDS
    assert kept["lost"] <= LOSS_SECONDS * 250, "no more than was written within the lag"


def test_a_planned_stop_of_the_master_loses_nothing(
    sentinel: Any, ledger: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    """preStop hands the role over: no acknowledged write is lost, and nobody waits for a failure to be noticed."""
    writing = ledger(sentinel)
    before = leader(sentinel, eventually)
    began = datetime.now(UTC).isoformat()
    sentinel.kubectl.run("delete", "pod", before, "-n", sentinel.name, "--wait=false")
    eventually(lambda: before not in sentinel.masters() and sentinel.masters(), 60)
    writing.writes_again()
    sentinel.whole(3)
    assert leader(sentinel, eventually) != before
    told, kept = writing.ask("tell"), writing.ask("check")
    print(told, kept)
    assert kept["lost"] == 0
    said = ""
    for pod in {p["metadata"]["name"] for p in sentinel.pods()} - {before}:
        said += sentinel.kubectl.run("logs", pod, "-n", sentinel.name, "-c", "sentinel", f"--since-time={began}").stdout
    assert "+switch-master" in said
    assert "+odown master" not in said, "the others had to notice that it was gone"


def test_all_pods_at_once(sentinel: Any, ledger: Callable[..., Any], eventually: Callable[..., Any]) -> None:
    """After a power cut nobody's address is what it was: they find each other by name, and have their data."""
    writing = ledger(sentinel)
    writing.ask("fill 1000")
    time.sleep(1.5)  # AOF everysec
    names = [p["metadata"]["name"] for p in sentinel.pods()]
    sentinel.kubectl.run("delete", "pod", *names, "-n", sentinel.name, "--grace-period=0", "--force")
    sentinel.whole(3)
    leader(sentinel, eventually)
    writing.writes_again()
    kept = writing.ask("check")
    print(writing.ask("tell"), kept)
    assert kept["lost"] <= LOSS_SECONDS * 250
    assert kept["known"] > 1000


@pytest.mark.slow
def test_a_master_that_is_cut_off_stops_accepting(
    sentinel: Any, ledger: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    """No split brain past min-replicas-max-lag: without replicas it refuses, while the other side goes on.

    The ledger reaches both sides, as no client of one side does, so each is asked from within.
    """
    writing = ledger(sentinel)
    before = leader(sentinel, eventually)
    others = [p["metadata"]["name"] for p in sentinel.pods() if p["metadata"]["name"] != before]
    began = time.monotonic()
    with faults.cut_off(sentinel.cluster, sentinel.name, before):
        eventually(lambda: any("OK" in sentinel.cli(pod, "SET", "other", "side") for pod in others), 60)
        seconds = time.monotonic() - began
        time.sleep(max(0.0, LOSS_SECONDS + 2 - seconds))
        refused = sentinel.cli(before, "SET", "split", "brain")
        assert "NOREPLICAS" in refused or "READONLY" in refused, refused
    sentinel.whole(3)
    assert leader(sentinel, eventually) != before
    writing.writes_again()
    told, kept = writing.ask("tell"), writing.ask("check")
    print(f"the other side accepted after {seconds:.1f} s", told, kept)
    assert kept["lost"] <= LOSS_SECONDS * 250


@pytest.mark.slow
def test_two_of_three_are_killed(sentinel: Any, ledger: Callable[..., Any], eventually: Callable[..., Any]) -> None:
    writing = ledger(sentinel)
    names = sorted(p["metadata"]["name"] for p in sentinel.pods())[:2]
    sentinel.kubectl.run("delete", "pod", *names, "-n", sentinel.name, "--grace-period=0", "--force")
    sentinel.whole(3)
    leader(sentinel, eventually)
    writing.writes_again()
    assert writing.ask("check")["lost"] <= LOSS_SECONDS * 250


@pytest.mark.slow
@pytest.mark.parametrize("time_", range(5))
def test_a_master_that_hangs(
    sentinel: Any, ledger: Callable[..., Any], eventually: Callable[..., Any], time_: int
) -> None:
    """Frozen, as a machine that hangs: connections stay open and nothing answers. Thawed, it follows."""
    writing = ledger(sentinel)
    before = leader(sentinel, eventually)
    eventually(lambda: not sentinel.unfit_sentinels(), 60)
    writing.ask("mark")
    with faults.frozen(sentinel.cluster, sentinel.name, before):
        writing.writes_again()
        told = writing.ask("tell")
        time.sleep(2)
    after = leader(sentinel, eventually)
    kept = writing.ask("check")
    print(told, kept)
    assert after != before
    assert told["longest_gap_s"] <= FAILOVER_SECONDS
    assert kept["lost"] <= LOSS_SECONDS * 250


@pytest.mark.slow
def test_a_rolling_update_fails_no_read(
    sentinel: Any, ledger: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    writing = ledger(sentinel, PATIENT_MS)
    sentinel.kubectl.run("rollout", "restart", "statefulset/redis", "-n", sentinel.name)
    sentinel.kubectl.run("rollout", "status", "statefulset/redis", "-n", sentinel.name, timeout=300)
    leader(sentinel, eventually)
    writing.writes_again()
    told, kept = writing.ask("tell"), writing.ask("check")
    print(told, kept)
    assert (told["failed_reads"], kept["lost"]) == (0, 0)


@pytest.mark.slow
def test_verify_says_who_does_not_answer(sentinel: Any, eventually: Callable[..., Any]) -> None:
    before = leader(sentinel, eventually)
    eventually(lambda: not sentinel.failing(), 60, lambda: str(sentinel.failing()))
    other = next(p["metadata"]["name"] for p in sentinel.pods() if p["metadata"]["name"] != before)
    with faults.frozen(sentinel.cluster, sentinel.name, other):
        assert set(sentinel.failing()) == {"nodes", "quorum", "replication"}
    eventually(lambda: not sentinel.failing(), 60, lambda: str(sentinel.failing()))
