"""What happens beside a move: definitions change, readers take long, transactions stay open, a person has wishes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from itertools import islice
from typing import Any

import psycopg
import pytest
from shard.reshard import context as contexts  # type: ignore[import-not-found]
from shard.reshard import copying, fence, mover  # type: ignore[import-not-found]
from shard.reshard.context import Context  # type: ignore[import-not-found]
from shard.reshard.lease import Lease  # type: ignore[import-not-found]

from headroom.capacity.plan.buckets import owners
from inference.deadline import Deadline
from inference.shards import KnownMap, Shards, bucket_of

UPSERT = "INSERT INTO {schema}.features (entity_id, features) VALUES (%s, %s)"
READ = "SELECT entity_id, features FROM {schema}.features WHERE entity_id = ANY(%s)"


@pytest.fixture
def one(fleet: Any) -> tuple[Any, int, str]:
    """A store of which three shards ask for one move, from shard 0 to 2: the bucket, and its schema."""
    held = list(owners(3))
    number = held.index(2)
    held[number] = 0
    fleet.own(tuple(held))
    fleet.fill(3_000)
    return fleet, number, f"b{number:03d}"


def run(fleet: Any, **more: Any) -> Any:
    lease = Lease(fleet.server(0), "one")
    try:
        return mover.run(Context(fleet.servers, "one", **more), lease, 3, 1)
    finally:
        lease.give_up()


def at(point: str, do: Callable[[], None]) -> Callable[[str, int], None]:
    """Do something once, when a bucket comes to a point."""
    left = [do]

    def reached(name: str, _bucket: int) -> None:
        if name == point and left:
            left.pop()()

    return reached


def test_a_changed_definition_begins_the_copy_again_and_arrives(one: tuple[Any, int, str]) -> None:
    fleet, number, schema = one
    add = f"ALTER TABLE {schema}.features ADD COLUMN source text DEFAULT 'unknown'"
    run(fleet, reached=at("following", lambda: fleet.sql(0, add)))
    assert fleet.sql(0, "SELECT attempt, step FROM headroom.move WHERE bucket = %s", (number,)) == [(2, "done")]
    assert fleet.sql(2, f"SELECT DISTINCT source FROM {schema}.features") == [("unknown",)]  # noqa: S608
    fleet.agrees()


def test_other_tables_sequences_and_grants_move_too(one: tuple[Any, int, str]) -> None:
    fleet, _, schema = one
    fleet.sql(
        0,
        f"""
        CREATE TABLE {schema}.notes (
            id bigserial PRIMARY KEY, said jsonb, size integer GENERATED ALWAYS AS (length(said::text)) STORED);
        CREATE INDEX ON {schema}.notes (size);
        GRANT SELECT, INSERT ON {schema}.notes TO features;
        GRANT SELECT ON {schema}.notes TO pooler WITH GRANT OPTION;
        GRANT USAGE ON SEQUENCE {schema}.notes_id_seq TO features""",
    )
    fill = "SELECT jsonb_build_object('n', n) FROM generate_series(1, 500) AS n"
    fleet.sql(0, f"INSERT INTO {schema}.notes (said) {fill}")
    before = fleet.sql(0, f"SELECT * FROM {schema}.notes ORDER BY id")  # noqa: S608
    run(fleet)
    assert fleet.sql(2, f"SELECT * FROM {schema}.notes ORDER BY id") == before  # noqa: S608
    with fleet.connect(2, "features") as connection:
        query = f"INSERT INTO {schema}.notes (said) VALUES ('1') RETURNING id"  # noqa: S608
        assert connection.execute(query).fetchone() == (501,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(f"DELETE FROM {schema}.notes")  # noqa: S608
    granted = "SELECT has_table_privilege('pooler', %s, 'SELECT WITH GRANT OPTION')"
    assert fleet.sql(2, granted, (f"{schema}.notes",)) == [(True,)]
    fleet.agrees()


def test_rows_of_every_type_arrive_as_they_were(one: tuple[Any, int, str]) -> None:
    """Those that mean the same on every server go in their binary form, the others are written and read as text."""
    fleet, _, schema = one
    listed = ", ".join(f"v_{name} {name}" for name in copying.SAME_EVERYWHERE)
    same = r"""
        2, true, -1, -2, -3, 'NaN', '-0', 'NaN', E'a\t\\N\n', 'ä', 'c', '\x00ff',
        '00000000-0000-0000-0000-00000000000f', 'infinity', '23:59:59.5', '23:59:59+02', '-infinity',
        '2026-11-22 12:00:00.000001+01', '1 month -1 day 00:00:01', '{"a": 1}', '{"b": [null]}', '::1', '10.0.0.0/8',
        ARRAY[NULL, '', E'\\.'], '{{1e-308,NaN},{Infinity,0.1}}'
    """
    fleet.sql(0, f"CREATE TABLE {schema}.same (id bigint PRIMARY KEY, {listed}, texts text[], numbers float8[])")
    fleet.sql(0, f"INSERT INTO {schema}.same (id) VALUES (1)")  # noqa: S608
    fleet.sql(0, f"INSERT INTO {schema}.same VALUES ({same})")  # noqa: S608
    fleet.sql(0, f"CREATE TYPE {schema}.kind AS ENUM ('first', 'second')")
    fleet.sql(0, f"CREATE TABLE {schema}.own (id int PRIMARY KEY, kinds {schema}.kind[], words tsvector)")
    fleet.sql(0, f"INSERT INTO {schema}.own VALUES (1, '{{first,second}}', 'a:1 b:2'), (2, NULL, NULL)")  # noqa: S608
    lease = Lease(fleet.server(0), "one")
    lease.take(fleet.servers.values())
    with Context(fleet.servers, "one").session(0) as session:
        binary = [table for table in ("features", "own", "same") if copying.binary(session, schema, table)]
    lease.give_up()
    assert binary == ["features", "same"]
    queries = [f"SELECT t::text FROM {schema}.{table} AS t ORDER BY id" for table in ("same", "own")]  # noqa: S608
    before = [fleet.sql(0, query) for query in queries]
    run(fleet)
    assert [fleet.sql(2, query) for query in queries] == before
    fleet.agrees()


def test_a_reader_that_began_before_the_flip_reads_to_its_end(
    one: tuple[Any, int, str], eventually: Callable[..., None]
) -> None:
    """One statement sees one moment; the next one of the same transaction is refused, not answered from old rows."""
    fleet, _, schema = one
    with fleet.connect(0, "features") as reader, reader.transaction():
        count = reader.execute(f"SELECT count(*) FROM {schema}.features").fetchone()[0]  # noqa: S608
        cursor = reader.cursor("batch")
        cursor.execute(f"SELECT entity_id FROM {schema}.features")  # noqa: S608
        assert cursor.fetchone() is not None
        moving = threading.Thread(target=run, args=(fleet,))
        moving.start()
        eventually(lambda: fleet.map().owners == owners(3))
        assert len(cursor.fetchall()) == count - 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute(f"SELECT count(*) FROM {schema}.features")  # noqa: S608
    moving.join(120)
    fleet.agrees()


def test_a_transaction_that_stays_open_holds_the_move_and_no_other_writer(
    one: tuple[Any, int, str], eventually: Callable[..., None]
) -> None:
    fleet, number, schema = one
    with fleet.connect(0, "features") as other, fleet.connect(0, "features") as writer:
        other.execute("BEGIN")
        key, another = islice((k for k in (f"k{n}" for n in range(100_000)) if bucket_of(k) == number), 2)
        insert = f"INSERT INTO {schema}.features VALUES (%s, '{{1}}') ON CONFLICT DO NOTHING"  # noqa: S608
        reached = at("following", lambda: other.execute(insert, (key,)) and None)
        moving = threading.Thread(target=run, args=(fleet,), kwargs={"reached": reached})
        moving.start()
        said = "SELECT count(*) FROM headroom.move WHERE said LIKE '%lock timeout%'"
        eventually(lambda: fleet.sql(0, said) == [(1,)])
        writer.execute("SET statement_timeout = '30s'")
        writer.execute(insert, (another,))
        assert fleet.map().owners != owners(3)
        other.execute("COMMIT")
    moving.join(120)
    assert fleet.map().owners == owners(3)
    rows = fleet.rows()
    assert [[shard for shard, _ in rows[k]] for k in (key, another)] == [[2], [2]]
    fleet.agrees()


def test_a_fence_that_was_opened_again_waits_for_what_was_written_since(
    one: tuple[Any, int, str], eventually: Callable[..., None]
) -> None:
    """The target applies nothing while the second try looks: what the first try left there must not count."""
    fleet, number, schema = one
    key = next(k for k in (f"late-{n}" for n in range(100_000)) if bucket_of(k) == number)
    passed: list[str] = []
    holder = fleet.connect(2)
    behind = "SELECT said LIKE '%%behind%%' OR said LIKE '%%had waited%%' FROM headroom.move WHERE bucket = %s"

    def let_go() -> None:
        try:
            eventually(lambda: fleet.sql(0, behind, (number,)) == [(True,)])
        finally:
            holder.rollback()

    letting_go = threading.Thread(target=let_go)

    def reached(point: str, _bucket: int) -> None:
        passed.append(point)
        if point == "caught" and passed.count("caught") == 1:
            raise fence.NotNow("not yet")
        if point == "fencing" and passed.count("fencing") == 2:
            holder.execute(f"BEGIN; LOCK TABLE {schema}.features IN SHARE MODE")
            letting_go.start()
            with fleet.connect(0, "features") as writer:
                writer.execute(f"INSERT INTO {schema}.features VALUES (%s, '{{1}}')", (key,))  # noqa: S608

    with holder:
        run(fleet, reached=reached)
        letting_go.join(60)
    assert passed.count("fencing") > 2, "the second try found the target behind"
    assert [shard for shard, _ in fleet.rows()[key]] == [2]
    fleet.agrees()


def test_writes_that_have_waited_for_long_are_let_go_up_to_the_flip(one: tuple[Any, int, str]) -> None:
    fleet, _, _ = one
    passed: list[str] = []

    def reached(point: str, _bucket: int) -> None:
        passed.append(point)
        if point == "closed" and passed.count("closed") == 1:
            time.sleep(fence.WITHIN_S)

    run(fleet, reached=reached)
    assert passed[passed.index("closed") + 1] == "fencing"
    assert passed.count("flipped") == 1
    fleet.agrees()


async def test_a_client_that_slept_through_the_flip_is_refused_and_finds_the_bucket(one: tuple[Any, int, str]) -> None:
    fleet, number, _ = one
    key = next(k for k in (f"k{n}" for n in range(100_000)) if bucket_of(k) == number)
    tried: list[str] = []
    async with Shards(
        fleet.address(), buckets=KnownMap(fleet.map()), on_retry=lambda _, why: tried.append(why)
    ) as shards:
        await shards.read([key], READ, Deadline.after(10))
        run(fleet)
        assert shards.map.owners[number] == 0, "it has heard nothing"
        await shards.write(key, UPSERT, (key, [1.0]), Deadline.after(10), idempotent=False)
        assert shards.map.owners == owners(3)
        assert await shards.read([key], READ, Deadline.after(10)) == [(key, [1.0])]
    assert set(tried) == {"moved"}
    assert [shard for shard, _ in fleet.rows()[key]] == [2]


def lose_a_row(fleet: Any, schema: str) -> None:
    fleet.sql(2, f"DELETE FROM {schema}.features WHERE ctid = (SELECT min(ctid) FROM {schema}.features)")  # noqa: S608


def test_a_copy_that_lost_a_row_never_takes_over(one: tuple[Any, int, str]) -> None:
    fleet, _, schema = one
    run(fleet, reached=at("copied", lambda: lose_a_row(fleet, schema)))
    assert fleet.sql(0, "SELECT attempt, said FROM headroom.move") == [(2, "")], "the first copy was thrown away"
    assert all(len(there) == 1 for there in fleet.rows().values())
    fleet.agrees()


def test_a_row_lost_after_the_copy_is_found_and_the_former_copy_kept(one: tuple[Any, int, str]) -> None:
    fleet, number, schema = one
    with pytest.raises(contexts.Differs, match=f"bucket {number} is at shard 2"):
        run(fleet, reached=at("following", lambda: lose_a_row(fleet, schema)))
    count = f"SELECT count(*) FROM {schema}.features"  # noqa: S608
    assert fleet.sql(0, count)[0][0] == fleet.sql(2, count)[0][0] + 1
    assert fleet.sql(0, "SELECT verified FROM headroom.move") == [(False,)]
    with pytest.raises(contexts.Differs):
        run(fleet)


def test_pause_and_abort(grown: Any, eventually: Callable[..., None]) -> None:
    grown.fill(1_000)
    failures: list[BaseException] = []
    heard: list[str] = []

    def pause() -> None:
        grown.sql(0, "UPDATE headroom.wish SET paused = true")
        eventually(lambda: any(text.startswith("paused") for text in heard))

    def work() -> None:
        lease = Lease(grown.server(0), "one")
        try:
            mover.run(Context(grown.servers, "one", reached=at("done", pause)), lease, 3, 1, told=heard.append)
        except mover.Aborted as error:
            failures.append(error)
        finally:
            lease.give_up()

    moving = threading.Thread(target=work)
    moving.start()
    eventually(lambda: any(text.startswith("paused") for text in heard))
    version = grown.map().version
    time.sleep(2)
    assert grown.map().version == version, "nothing begins in a pause"
    settled = "SELECT count(*) FROM headroom.move WHERE step NOT IN ('planned', 'done')"
    assert grown.sql(0, settled) == [(0,)]
    grown.sql(0, "UPDATE headroom.wish SET aborted = true, paused = false")
    moving.join(120)
    assert "run it again to go on" in str(failures[0])
    grown.agrees()
    assert run(grown).moved > 0
    assert not run(grown).moved


def test_a_throttle_holds_its_rate() -> None:
    from shard.reshard.throttle import Throttle  # type: ignore[import-not-found]  # noqa: PLC0415

    throttle = Throttle(1_000_000)
    began = time.monotonic()
    for _ in range(10):
        throttle.take(100_000)
    assert time.monotonic() - began >= 0.8


def test_a_move_asks_the_throttle_for_every_byte(one: tuple[Any, int, str]) -> None:
    from shard.reshard.throttle import Throttle  # type: ignore[import-not-found]  # noqa: PLC0415

    class Counting(Throttle):  # type: ignore[misc]
        asked = 0

        def take(self, count: int) -> None:
            self.asked += count

    fleet, number, _ = one
    throttle = Counting(0)
    run(fleet, throttle=throttle)
    ((copied,),) = fleet.sql(0, "SELECT copied FROM headroom.move WHERE bucket = %s", (number,))
    assert throttle.asked == copied > 0


def test_checksums_tell_rows_apart(one: tuple[Any, int, str]) -> None:
    fleet, _, schema = one
    Lease(fleet.server(0), "one").take(fleet.servers.values())
    with Context(fleet.servers, "one").session(0) as session:
        before = copying.checksum(session, schema, "features")
        fleet.sql(
            0,
            f"UPDATE {schema}.features SET features[1] = features[1] + 1e-9 "  # noqa: S608
            f"WHERE ctid = (SELECT min(ctid) FROM {schema}.features)",
        )
        after = copying.checksum(session, schema, "features")
    assert before.rows == after.rows and before.hashes != after.hashes


assert fence.CATCH_UP_S < 1, "a pause is under a second"
