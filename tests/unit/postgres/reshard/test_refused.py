"""What cannot work is refused before anything moves, with what to change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from shard.reshard import checks, mover  # type: ignore[import-not-found]
from shard.reshard.context import Context  # type: ignore[import-not-found]
from shard.reshard.lease import Lease  # type: ignore[import-not-found]
from shard.reshard.server import Superseded  # type: ignore[import-not-found]

from headroom.capacity.plan.buckets import reassigned


def refused(fleet: Any, shards: int = 3, **more: Any) -> str:
    before = fleet.map()
    lease = Lease(fleet.server(0), "one")
    with pytest.raises(checks.Refused) as caught:
        mover.run(Context(fleet.servers, "one"), lease, shards, **more)
    lease.give_up()
    assert fleet.map() == before
    assert fleet.leftovers() == []
    return str(caught.value)


def first(fleet: Any) -> tuple[str, int, int]:
    """A bucket that is to move: its schema, its shard and its next one."""
    held = fleet.map().owners
    wanted = reassigned(held, 3)
    bucket = next(b for b in range(256) if held[b] != wanted[b])
    return f"b{bucket:03d}", held[bucket], wanted[bucket]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("CREATE TABLE {}.more (n int)", ["has no replica identity", "ADD PRIMARY KEY"]),
        ("CREATE UNLOGGED TABLE {}.more (n int PRIMARY KEY)", ["is unlogged", "SET LOGGED"]),
        ("CREATE TABLE {}.more (n int PRIMARY KEY) PARTITION BY RANGE (n)", ["not an ordinary table"]),
        (
            "CREATE TABLE {0}.more (n int PRIMARY KEY); ALTER TABLE {0}.more OWNER TO features",
            ["belongs to features", "OWNER TO postgres"],
        ),
        ("GRANT SELECT (entity_id) ON {}.features TO features", ["grants on single columns"]),
    ],
)
def test_a_table_that_cannot_be_followed_or_fenced(grown: Any, statement: str, words: list[str]) -> None:
    schema, source, _ = first(grown)
    grown.sql(source, statement.format(schema))
    said = refused(grown)
    assert [word for word in words if word not in said] == []
    assert schema in said


def test_a_table_with_full_identity_is_no_hindrance(grown: Any) -> None:
    schema, source, target = first(grown)
    grown.sql(source, f"CREATE TABLE {schema}.more (n int); ALTER TABLE {schema}.more REPLICA IDENTITY FULL")
    Lease(grown.server(0), "one").take(grown.servers.values())
    assert checks.check(Context(grown.servers, "one"), [(int(schema[1:]), source, target)], 1)[target].buckets == 1


def test_a_target_without_space(grown: Any) -> None:
    said = refused(grown, spare=1 << 60)
    assert "GB free and needs" in said and "volumeSize" in said


def test_rows_that_are_there_already(grown: Any) -> None:
    schema, _, target = first(grown)
    grown.sql(target, f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.features AS SELECT 1 AS n")
    assert f"has rows in {schema}.features" in refused(grown)
    assert grown.sql(target, f"SELECT n FROM {schema}.features") == [(1,)]  # noqa: S608


def test_too_few_slots(grown: Any) -> None:
    assert "lower maxParallelMoves" in refused(grown, parallel=50)


def test_more_shards_than_buckets(grown: Any) -> None:
    with pytest.raises(ValueError, match="256 buckets"):
        mover.run(Context(grown.servers, "one"), Lease(grown.server(0), "one"), 257)


def test_versions_that_differ(grown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is one version on this machine, so one server says another."""
    versions = iter([15, 16, 15])
    monkeypatch.setattr(checks, "_version", lambda _session: next(versions))
    said = refused(grown)
    assert "has PostgreSQL 16" in said and "one version first" in said


def test_two_movers_at_once(grown: Any, load: Callable[..., Any]) -> None:
    one = Lease(grown.server(0), "one")
    one.take(grown.servers.values())
    with pytest.raises(Superseded, match="another mover works"):
        mover.run(Context(grown.servers, "two"), Lease(grown.server(0), "two", wait_s=0.5), 3)
    # The first one is cut off without knowing; the second takes over, and what is left of the first gets nowhere.
    former = Context(grown.servers, "one")
    session = former.session(1)
    one.give_up()
    Lease(grown.server(0), "two").take(grown.servers.values())
    with pytest.raises(Superseded):
        former.session(1)
    with pytest.raises(psycopg.OperationalError):
        session.run("SELECT 1")
    with pytest.raises(Superseded):
        one.renew()
