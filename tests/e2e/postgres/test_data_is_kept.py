"""Rows outlive their stack."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from bench.postgres.ledger import Ledger
from bench.postgres.site import NAMESPACE, Site

pytestmark = pytest.mark.e2e

SHARD = 0


def test_rows_outlive_their_stack(settled: Site, ledger: Callable[..., Ledger]) -> None:
    written = ledger(SHARD)
    with written.writing():
        written.wait_for(200)
    settled.down(keep_data=True)
    assert settled.kubectl.find("statefulset", "pg-shard-0", NAMESPACE) is None
    claims = settled.kubectl.items("persistentvolumeclaims", NAMESPACE)
    assert {c["metadata"]["name"] for c in claims} == {f"data-pg-shard-{n}-{copy}" for n in (0, 1) for copy in (0, 1)}
    settled.up()
    settled.settle(SHARD)
    with psycopg.connect(settled.direct(SHARD)) as connection:
        assert written.lost(connection) == []
    more = ledger(SHARD)
    with more.writing():
        more.wait_for(50)
