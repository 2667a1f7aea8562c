"""Who leads a shard, read off its Service's EndpointSlices."""

from __future__ import annotations

from typing import Any

import pytest
from pooler import files  # type: ignore[import-not-found]
from pooler.primaries import Primaries, primary  # type: ignore[import-not-found]


def slice_(*addresses: tuple[str, bool | None], service: str = "pg-shard-2") -> dict[str, Any]:
    return {
        "metadata": {"labels": {"kubernetes.io/service-name": service}},
        "endpoints": [{"addresses": [a], "conditions": {} if r is None else {"ready": r}} for a, r in addresses],
    }


@pytest.mark.parametrize(
    ("endpoints", "expected"),
    [
        ([], None),
        ([("10.0.0.1", True)], "10.0.0.1"),
        ([("10.0.0.1", None)], "10.0.0.1"),
        ([("10.0.0.1", False)], None),
        ([("10.0.0.1", False), ("10.0.0.2", True)], "10.0.0.2"),
        ([("10.0.0.1", True), ("10.0.0.2", True)], None),
    ],
)
def test_the_one_that_is_ready_leads(endpoints: list[tuple[str, bool | None]], expected: str | None) -> None:
    assert primary(slice_(*endpoints)) == expected


def test_a_slice_without_endpoints_has_no_primary() -> None:
    assert primary({"endpoints": None}) is None


def test_only_a_change_of_primary_is_told() -> None:
    moved: list[int] = []
    seen = Primaries(moved.append)
    seen.see(slice_(("10.0.0.1", True)))
    seen.see(slice_(("10.0.0.1", True)))
    seen.see(slice_(("10.0.0.1", False)))
    seen.see(slice_(("10.0.0.1", True)))
    assert moved == [], "the first sight of it, and its coming back, are no change"
    seen.see(slice_(("10.0.0.1", False)))
    seen.see(slice_(("10.0.0.1", False), ("10.0.0.9", True)))
    assert moved == [2]
    seen.see(slice_(("10.0.0.9", True), service="redis"))
    seen.see(slice_(("10.0.0.9", True), service="pg-shard-12"))
    assert moved == [2]


CONFIG = (
    "[databases]\nfeatures_0 = host=pg-shard-0.ml.svc port=5432 dbname=features\n"
    "features_1 = host=pg-shard-1.ml.svc port=5432 dbname=features\n\n[pgbouncer]\nlisten_port = 6432\n"
)


def test_a_shard_that_has_a_service_has_a_database() -> None:
    """Also before the stack's text names it, and after it names it no more."""
    seen = Primaries(lambda _shard: None)
    for shard in (0, 1, 2):
        seen.see(slice_(service=f"pg-shard-{shard}"))
    made = files.with_shards(CONFIG, seen.shards)
    assert "features_1 = host=pg-shard-1.ml.svc port=5432 dbname=features\n" in made
    assert "features_2 = host=pg-shard-2.ml.svc port=5432 dbname=features\n" in made
    assert made.index("features_2") < made.index("[pgbouncer]")
    assert files.with_shards(made, seen.shards) == made
    seen.gone(slice_(service="pg-shard-2"))
    assert files.with_shards(CONFIG, seen.shards) == CONFIG
    assert files.with_shards(CONFIG, ()) == CONFIG
