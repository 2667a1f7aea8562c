"""Another number of shards under the real Pulumi CLI, on real pods, while clients read and write."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from bench.postgres.site import CONFIG, NAMESPACE, Site
from bench.reshard.load import Load
from bench.reshard.pods import Store
from headroom import local
from headroom.engine.automation import AutomationEngine
from headroom.engine.model import Result
from headroom.local import machine
from headroom.ops import deploy
from headroom.progress import Progress, Silent

pytestmark = [
    pytest.mark.engine,
    pytest.mark.cluster,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("pulumi") is None, reason="no pulumi on PATH"),
    pytest.mark.skipif(bool(machine.no_real_node()), reason="real pods are not possible here"),
]


class Heard(Silent):
    """What a person would see while `up` waits."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def detail(self, text: str) -> None:
        self.details.append(text)


HEARD = Heard()


class PulumiSite(Site):
    """The same stack, held by Pulumi."""

    def up(self, config: dict[str, Any] | None = None, progress: Progress | None = None) -> Result:
        shown = progress or HEARD
        return AutomationEngine().up(deploy.prepare(self.request(config), shown), shown)

    def down(self, *, keep_data: bool = False) -> None:
        data = None if keep_data else NAMESPACE
        AutomationEngine().down(deploy.bare(self.request()), Silent(), delete_data=data)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """Two shards."""
    logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
    name = f"test-reshard-{os.getpid()}"
    try:
        site = PulumiSite(local.up(name, nodes="real"), tmp_path_factory.mktemp("reshard"))
        site.up()
        yield Store(site, CONFIG)
        site.down()
    finally:
        local.down(name)


def test_two_shards_become_three_and_two_again(store: Store) -> None:
    site = store.site
    keys = store.fill(20_000)
    for shards in (3, 2):
        writing = Load(site.address(), store.map(), writers=2, deadline_s=20.0)
        with writing.running():
            store.resize(shards)
            writing.wait_for(50)
        print(store.report(writing, shards))
        assert writing.failed == []
        store.check(writing, keys, shards)
        planned = store.plan().postgres
        assert planned is not None and planned.shards.value == shards
    assert any("buckets moved" in said and "bytes copied" in said for said in HEARD.details)
    assert site.kubectl.find("statefulset", "pg-shard-2", NAMESPACE) is None
    assert site.kubectl.find("persistentvolumeclaim", "data-pg-shard-2-0", NAMESPACE) is not None
    prepared = deploy.prepare(site.request(store.config), Silent())
    assert AutomationEngine().preview(prepared, Silent()).empty
