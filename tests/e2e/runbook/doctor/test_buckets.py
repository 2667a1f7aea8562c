"""Buckets whose mover hangs and then dies, a slot that no move goes on with, and rights taken by hand, on real pods."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.postgres.site import CONFIG, NAMESPACE, STACK, Site, until
from bench.reshard.pods import Resizing, Store, mover
from headroom import local
from headroom.cli.main import application
from headroom.errors import EnvironmentFailure
from headroom.local import faults

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# A row that the mover holds in a transaction of its own cannot be changed while it hangs.
LATER = """
WITH held AS (SELECT bucket FROM headroom.move WHERE step NOT IN ('planned', 'done') FOR UPDATE SKIP LOCKED),
     late AS (UPDATE headroom.move SET changed = changed - interval '1 hour' FROM held
              WHERE headroom.move.bucket = held.bucket RETURNING 1)
SELECT count(*) FROM late
"""
SLOT = "SELECT pg_create_logical_replication_slot('hr_b007_left', 'pgoutput')"
DROPPED = "SELECT pg_drop_replication_slot('hr_b007_left')"


@pytest.fixture
def store(cluster: local.Cluster, tmp_path: Path) -> Iterator[Store]:
    site = Site(cluster, tmp_path)
    try:
        site.up()
        yield Store(site, CONFIG)
    finally:
        site.down()


def test_buckets_that_do_not_arrive_and_what_is_left_of_moves(store: Store) -> None:
    site = store.site
    store.resize(2)
    well(store)

    growing = Resizing(store, 3)
    growing.further(2, 3)
    working = mover(site)
    assert growing.going and working is not None
    with hanging(site, working):
        found = waited(store, "buckets-do-not-move")
        assert "buckets have not come further for" in found["symptom"]
        assert any(line.startswith("bucket ") for line in found["evidence"])
    site.kubectl.run("delete", "job", "-n", NAMESPACE, "-l", "app=pg-move", "--wait=false")
    faults.kill(site.cluster, NAMESPACE, working)
    assert isinstance(growing.ended(), EnvironmentFailure)
    until(lambda: not store.state().working, 60, "no mover works")
    found = waited(store, "buckets-do-not-move")
    assert "buckets are on their way and no mover works" in found["symptom"]
    assert found["fix"] == f"headroom up --stack {STACK}"
    store.resize(3)  # what it says
    well(store)

    ask(site, SLOT)
    found = waited(store, "buckets-do-not-agree")
    assert found["symptom"] == "1 left of moves that do not go on"
    assert found["evidence"] == ["slot hr_b007_left"]
    ask(site, DROPPED)
    well(store)

    bucket = store.state().owners.index(0)
    ask(site, f"REVOKE USAGE ON SCHEMA b{bucket:03d} FROM features")
    found = waited(store, "buckets-do-not-agree")
    assert found["symptom"] == "its buckets are not those of the map"
    program, *command = shlex.split(found["fix"])
    assert program == "kubectl"
    site.kubectl.run(*command)
    well(store)


@contextmanager
def hanging(site: Site, pod: str) -> Iterator[None]:
    """The mover stopped in place, and an hour gone by for a bucket that is on its way."""

    def stopped() -> bool:
        faults.freeze(site.cluster, NAMESPACE, pod)
        if int(ask(site, LATER)) > 0:
            return True
        faults.thaw(site.cluster, NAMESPACE, pod)  # between two buckets, or in a transaction: a moment later
        return False

    try:
        until(stopped, 60, "the mover hangs with a bucket on its way")
        yield
    finally:
        faults.thaw(site.cluster, NAMESPACE, pod)


def ask(site: Site, statement: str) -> str:
    """Of shard 0's primary, as its superuser."""
    leader = site.leader(0)
    assert leader is not None
    return site.sql(leader, statement)


def findings(store: Store) -> dict[str, dict[str, Any]]:
    """What the doctor says of PostgreSQL, by its sections of the runbook."""
    file = store.site.request(store.config).file
    where = ["--stack", STACK, "--name", store.site.cluster.name, "--config", str(file), "--format", "json"]
    said = CliRunner().invoke(application(), ["doctor", "postgres", *where]).stdout
    return {f["anchor"]: f for f in json.loads(said)["findings"]}


def waited(store: Store, anchor: str, seconds: float = 120) -> dict[str, Any]:
    return dict(_first(lambda: findings(store).get(anchor), seconds, lambda: f"no {anchor}: {findings(store)}"))


def well(store: Store, seconds: float = 180) -> None:
    _first(lambda: not findings(store), seconds, lambda: f"still: {findings(store)}")


def _first(look: Callable[[], Any], seconds: float, but: Callable[[], str]) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := look()):
        assert time.monotonic() < deadline, but()
        time.sleep(1)
    return answer
