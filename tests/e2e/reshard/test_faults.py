"""What may go wrong in the middle of a resize, all in one: primaries of both sides, the mover, PgBouncer, the API."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from bench.postgres.site import NAMESPACE, Site, delete_pod, until
from bench.reshard.load import Load
from bench.reshard.pods import Resizing, Store, mover
from headroom import local
from headroom.local import processes

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def test_a_resize_goes_on_through_everything(store: Store, load: Callable[..., Load]) -> None:
    """A source's primary, the target's, the one that keeps the journal, the mover, PgBouncer, the API server."""
    site = store.site
    store.resize(2)
    keys = store.fill(20_000, "faults")
    writing = load(writers=2, deadline_s=90.0)
    with writing.running():
        growing = Resizing(store, 3)
        growing.further(2, 3)
        for shard in (1, 2, 0):
            said(f"the primary of shard {shard} is lost")
            lose_primary(site, shard)
            growing.further(2, 3)
        said("the API server restarts")
        restart_api_server(site)
        growing.further(2, 3)
        until(lambda: mover(site) is not None, 120, "a mover")
        working = mover(site)
        assert working is not None
        said("the mover is lost")
        delete_pod(site, working, 1)
        until(lambda: mover(site) not in (None, working), 120, "another mover")
        growing.further(2, 3)
        said("PgBouncer is rolled")
        site.kubectl.run("rollout", "restart", "deployment/pgbouncer", "-n", NAMESPACE)
        assert growing.ended() is None
        writing.wait_for(50)
    print(store.report(writing, 3), *writing.slow, sep="\n")
    print(site.kubectl.run("logs", "-n", NAMESPACE, "-l", "app=pg-move", "--tail=-1").stdout)
    assert writing.failed == []
    store.check(writing, keys, 3)


def said(what: str) -> None:
    """For whoever asks why a write was slow."""
    print(time.strftime("%H:%M:%S"), what, flush=True)


def lose_primary(site: Site, shard: int) -> None:
    """Kill its pod."""
    until(lambda: site.leader(shard) is not None, 60, f"shard {shard} has a primary")
    former = site.leader(shard)
    assert former is not None
    delete_pod(site, former, 1)


def restart_api_server(site: Site) -> None:
    """Gone for some seconds, and back."""
    state = site.cluster.state
    former = processes.parts(state)["kube-apiserver"]
    former.kill()
    time.sleep(3)
    again = local.up(site.cluster.name, nodes="real")
    assert again == site.cluster
    assert processes.parts(state)["kube-apiserver"] != former
