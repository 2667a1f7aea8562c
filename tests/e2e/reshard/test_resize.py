"""Another number of shards is an ordinary edit of the stack file, while clients read and write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.postgres.site import NAMESPACE
from bench.reshard.load import Load
from bench.reshard.pods import Store
from headroom.ops import reshard

pytestmark = pytest.mark.e2e


def test_two_shards_become_three_under_load(store: Store, load: Callable[..., Load]) -> None:
    keys = store.fill(20_000)
    writing = load(writers=2, deadline_s=20.0)
    with writing.running():
        store.resize(3)
        writing.wait_for(50)
    print(store.report(writing, 3), writing.failed[:3])
    assert writing.failed == []
    store.check(writing, keys, 3)
    now = store.state()
    assert [m.verified for m in now.moves] == [True] * 85
    assert now.unfinished == () and not now.working
    plan = store.plan().postgres
    assert plan is not None and reshard.foresee(store.site.kubectl, plan) is None


def test_a_shard_is_emptied_before_it_is_removed(store: Store, load: Callable[..., Load]) -> None:
    store.resize(3)
    keys = store.fill(5_000, "before-the-end")
    writing = load(writers=2, deadline_s=20.0)
    with writing.running():
        store.resize(2)
        writing.wait_for(50)
    assert writing.failed == []
    store.check(writing, keys, 2)
    assert store.site.kubectl.find("statefulset", "pg-shard-2", NAMESPACE) is None
    assert store.site.kubectl.find("persistentvolumeclaim", "data-pg-shard-2-0", NAMESPACE) is not None
