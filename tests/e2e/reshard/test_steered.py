"""A person at the wheel: status, pause, resume and abort beside a resize, a second mover, a client with an old map."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.postgres.site import NAMESPACE, Site, until
from bench.reshard.load import Load
from bench.reshard.pods import Resizing, Store, mover
from headroom.errors import EnvironmentFailure
from headroom.local import faults
from headroom.ops import reshard
from inference.shards import BucketMap, bucket_of

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_paused_crowded_out_aborted_and_moved_back(store: Store, load: Callable[..., Load]) -> None:
    site = store.site
    store.resize(2)
    keys = store.fill(20_000, "steered")
    writing = load(writers=2, deadline_s=60.0)
    with writing.running():
        growing = Resizing(store, 3)
        growing.further(2, 5)
        assert "a mover works" in store.steer("status")

        store.steer("pause")
        until(lambda: not begun(store), 60, "those on their way have arrived")
        version = store.state().version
        second_mover_gives_up(site)
        assert store.state().version == version, "nothing begins in a pause"
        assert "paused" in store.steer("status")

        with frozen_client(store) as (client, old):
            client.send_signal(signal.SIGSTOP)
            store.steer("resume")
            growing.further(2, 5)
            assert "told" in store.steer("abort")
            error = growing.ended()
            assert isinstance(error, EnvironmentFailure) and "aborted" in str(error), error
            client.send_signal(signal.SIGCONT)
            key, shard = wakes_up_with_an_old_map(store, client, old)
        keys.add(key)
        assert {shard} == {there for there, _ in store.rows()[key]}
        stays_as_it_is(store)

        # Once more, and the mover dies: whoever aborts then does it beside shard 0.
        growing = Resizing(store, 3)
        growing.further(2, 3)
        working = mover(site)
        assert working is not None
        site.kubectl.run("delete", "job", "-n", NAMESPACE, "-l", "app=pg-move", "--wait=false")
        faults.kill(site.cluster, NAMESPACE, working)
        assert isinstance(growing.ended(), EnvironmentFailure)
        until(lambda: not store.state().working, 60, "no mover works")
        assert "are back where they were" in store.steer("abort")
        assert store.state().unfinished == ()
        stays_as_it_is(store)

        a_shard_that_owns_buckets_stays(store)
        store.resize(2)
        writing.wait_for(50)
    print(store.report(writing, 2))
    assert writing.failed == []
    store.check(writing, keys, 2)


def begun(store: Store) -> list[reshard.Moving]:
    return [m for m in store.state().unfinished if m.step != "planned"]


def stays_as_it_is(store: Store) -> None:
    """Nothing is half-way, nothing is left of what was, each shard lets its own buckets be written and no other's."""
    now = store.state()
    assert not now.working and begun(store) == []
    assert 0 < now.owners.count(2) < 85
    for number in range(3):
        found = reshard.shard(store.site.kubectl, NAMESPACE, number)
        assert found.streams == ()
        assert list(found.writable) == [b for b, owner in enumerate(now.owners) if owner == number]


def a_shard_that_owns_buckets_stays(store: Store) -> None:
    """Shrinking that stops half-way removes nothing."""
    held = store.held(2)
    shrinking = Resizing(store, 2)
    until(lambda: store.held(2) < held or not shrinking.going, 300, "a bucket has moved back")
    store.steer("abort")
    assert isinstance(shrinking.ended(), EnvironmentFailure)
    assert store.held(2) > 0, "it had moved everything already"
    store.site.settle(2)


def second_mover_gives_up(site: Site) -> None:
    """A mover that leaves the first one's Job alone, as no Job of ours does."""
    (first,) = site.kubectl.items("jobs", NAMESPACE, "app=pg-move")
    pod: dict[str, Any] = copy.deepcopy(first["spec"]["template"])
    for label in list(pod["metadata"]["labels"]):
        if "job-name" in label or "controller-uid" in label:
            del pod["metadata"]["labels"][label]
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        # Without a label of its own it would get those of its pods.
        "metadata": {"name": "second-mover", "namespace": NAMESPACE, "labels": {"app": "second-mover"}},
        "spec": {"backoffLimit": 0, "template": pod},
    }
    site.kubectl.run("create", "-f", "-", stdin=json.dumps(job))
    try:
        until(lambda: bool(ended(site)), 180, "the second mover gave up")
        logs = site.kubectl.run("logs", "-n", NAMESPACE, "job/second-mover").stdout
        assert "another mover works on these shards" in logs
    finally:
        site.kubectl.run("delete", "job", "second-mover", "-n", NAMESPACE, "--wait=false")


def ended(site: Site) -> list[Any]:
    conditions = site.kubectl.get("job", "second-mover", "-n", NAMESPACE)["status"].get("conditions") or []
    assert not [c for c in conditions if c["type"] == "Complete"], "it worked beside the first"
    return [c for c in conditions if c["type"] == "Failed" and c["status"] == "True"]


@contextmanager
def frozen_client(store: Store) -> Iterator[tuple[subprocess.Popen[str], BucketMap]]:
    """A process with connections to every shard and the map of this moment."""
    old = store.map()
    program = Path(__file__).with_name("frozen.py")
    root = str(program.parents[3])
    client = subprocess.Popen(
        [sys.executable, str(program)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert client.stdin and client.stdout
    try:
        given = {"address": store.site.address(), "version": old.version, "owners": old.owners}
        client.stdin.write(json.dumps(given) + "\n")
        assert client.stdout.readline() == "ready\n"
        yield client, old
    finally:
        client.kill()
        client.wait()


def wakes_up_with_an_old_map(store: Store, client: subprocess.Popen[str], old: BucketMap) -> tuple[str, int]:
    """It writes to a bucket that has moved: the former shard refuses it. Gives the key, and the shard that has it."""
    assert client.stdin and client.stdout
    now = store.map()
    moved = {b for b, (then, owner) in enumerate(zip(old.owners, now.owners, strict=True)) if then != owner}
    key = next(key for n in range(100_000) if bucket_of(key := f"after-the-flip-{n}") in moved)
    client.stdin.write(f"{key} 7\n")
    answer = json.loads(client.stdout.readline())
    assert answer["held"] == old.version and answer["version"] == now.version
    assert answer["why"] and set(answer["why"]) == {"moved"}
    return key, now.owners[bucket_of(key)]
