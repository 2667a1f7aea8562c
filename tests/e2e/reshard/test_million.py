"""A million rows through growth and shrinking, two steps up and one of two down, while clients read and write."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.postgres.site import NAMESPACE
from bench.reshard.load import Load
from bench.reshard.pods import Store

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
ROWS = 1_000_000


def test_a_million_rows_through_two_three_and_four_shards(store: Store, load: Callable[..., Load]) -> None:
    store.resize(2)
    keys = store.fill(ROWS, "million")
    writing = load(writers=2, deadline_s=20.0)
    with writing.running():
        for shards in (3, 4):
            store.resize(shards)
            print(store.report(writing, shards))
        writing.wait_for(50)
    assert writing.failed == []
    store.check(writing, keys, 4)


def test_four_shards_become_two_at_once(store: Store, load: Callable[..., Load]) -> None:
    store.resize(4)
    keys = {key for key in store.rows() if not key.startswith("load-")}
    if len(keys) < ROWS:
        keys |= store.fill(ROWS, "of-four")
    writing = load(writers=2, deadline_s=20.0)
    with writing.running():
        store.resize(2)
        print(store.report(writing, 2))
        writing.wait_for(50)
    assert writing.failed == []
    store.check(writing, keys, 2)
    for shard in (2, 3):
        assert store.site.kubectl.find("statefulset", f"pg-shard-{shard}", NAMESPACE) is None
        assert store.site.kubectl.find("persistentvolumeclaim", f"data-pg-shard-{shard}-0", NAMESPACE) is not None
