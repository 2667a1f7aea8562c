"""Loads into two real shards: whole, again, stopped, broken off, with a shard that goes away."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headroom.errors import EnvironmentFailure, InputError
from headroom.ops.features import Journal, check, load, open_table
from inference.shards import bucket_of, schema_of

Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def lines(number: int, value: float = 1.0) -> list[str]:
    return ["entity_id,a,b", *(f"e{n},{n},{value}" for n in range(number))]


def test_every_row_is_in_its_bucket_on_its_shard(shards: Any, csv_file: Write) -> None:
    table = open_table(csv_file(*lines(1000)))
    told: list[int] = []
    done = load(table, check(table), shards.store(), Journal.of("a"), told.append)
    assert (done.rows, done.skipped) == (1000, 0)
    assert shards.stored() == {f"e{n}": [float(n), 1.0] for n in range(1000)}
    for shard, rows in enumerate(shards.each("SELECT bucket, entity_id FROM {}")):
        assert rows
        assert all(bucket == bucket_of(key) and bucket % 2 == shard for bucket, key in rows)
    assert told[0] == 0 and told[-1] == 1000 and told == sorted(told)
    assert not Journal.of("a").path.exists()


def test_a_second_load_replaces_what_changed_and_leaves_the_rest_alone(shards: Any, csv_file: Write) -> None:
    table = open_table(csv_file(*lines(50)))
    load(table, check(table), shards.store(), Journal.of("a"))
    stamp = "SELECT entity_id, updated_at FROM {}"
    before = {key: at for rows in shards.each(stamp) for key, at in rows}
    changed = [line.replace("e7,7,1.0", "e7,7,2.0") for line in lines(51)]
    table = open_table(csv_file(*changed))
    load(table, check(table), shards.store(), Journal.of("b"))
    after = {key: at for rows in shards.each(stamp) for key, at in rows}
    assert shards.stored()["e7"] == [7.0, 2.0]
    assert {key for key in before if after[key] != before[key]} == {"e7"}
    assert set(after) - set(before) == {"e50"}


def test_numbers_are_stored_to_their_last_digit(shards: Any, csv_file: Write) -> None:
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0, 123456789.123456789]
    table = open_table(csv_file("entity_id," + ",".join("abcdef"), "x," + ",".join(map(repr, values))))
    load(table, check(table), shards.store(), Journal.of("a"))
    assert list(map(repr, shards.stored()["x"])) == list(map(repr, values))


def test_strange_names(shards: Any, csv_file: Write) -> None:
    names = ["a'b", "c\\d", "{e}", "%s", "f%%g", "ключ", "😀", "NULL", " space ", 'q"q']
    table = open_table(csv_file("entity_id,a", *('"' + name.replace('"', '""') + '",1' for name in names)))
    load(table, check(table), shards.store(), Journal.of("a"))
    assert set(shards.stored()) == set(names)


def test_a_load_goes_on_where_the_journal_says(shards: Any, csv_file: Write) -> None:
    table = open_table(csv_file(*lines(1000)))
    checked, journal = check(table), Journal.of("a")

    class Stop(Exception):
        pass

    def stop(rows: int) -> None:
        if rows > 450:
            raise Stop

    with pytest.raises(Stop):
        load(table, checked, shards.store(), journal, stop, window_rows=200)
    assert journal.rows() == 400
    there = shards.stored()
    assert 400 < len(there) < 1000
    assert {f"e{n}" for n in range(400)} <= set(there)
    # What is skipped is not written again: rows that vanished meanwhile stay away.
    for shard in (0, 1):
        if bucket_of("e3") % 2 == shard:
            gone = f"DELETE FROM {schema_of(bucket_of('e3'))}.features WHERE entity_id = 'e3'"  # noqa: S608
            shards.server.run(gone, database=f"features_{shard}")
    done = load(table, checked, shards.store(), journal, window_rows=200)
    assert (done.rows, done.skipped) == (1000, 400)
    assert set(shards.stored()) == {f"e{n}" for n in range(1000)} - {"e3"}


SCRIPT = """
import sys
from pathlib import Path
from headroom.ops.features import Journal, Store, check, load, open_table
from inference.shards import BucketMap, FixedMap
owners = tuple(bucket % 2 for bucket in range(256))
table = open_table(Path(sys.argv[1]))
store = Store(sys.argv[2], FixedMap(BucketMap(1, 2, owners)), "tests")
done = load(table, check(table), store, Journal.of("killed"), window_rows=500)
print(done.rows, done.skipped)
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_is_stopped_at_any_moment(shards: Any, csv_file: Write, number: signal.Signals) -> None:
    file = csv_file(*lines(20_000))
    command = [sys.executable, "-c", SCRIPT, str(file), shards.server.address("features")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=dict(os.environ))
    journal = Journal.of("killed")
    until = time.monotonic() + 60
    while journal.rows() < 500:
        assert time.monotonic() < until
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    skipped = journal.rows()
    assert {f"e{n}" for n in range(skipped)} <= set(shards.stored())
    again = subprocess.run(command, capture_output=True, text=True, check=True)
    assert again.stdout.split() == ["20000", str(skipped)]
    assert len(shards.stored()) == 20_000


def test_commits_that_are_not_confirmed_are_sent_again(shards: Any, csv_file: Write, proxy: Callable[..., Any]) -> None:
    """The answer to every tenth COMMIT is lost: the client cannot know, and twice equals once."""
    table = open_table(csv_file(*lines(300)))
    checked, seen = check(table), 0

    def verdict(data: bytes) -> str:
        nonlocal seen
        seen += b"COMMIT" in data
        return "cut" if b"COMMIT" in data and seen % 10 == 1 else ""

    async def run() -> Any:
        async with proxy(shards.server.port) as between:
            between.on_sent = verdict
            return await asyncio.to_thread(load, table, checked, shards.store(between.port), Journal.of("a"))

    done = asyncio.run(run())
    assert done.retries > 0
    assert set(shards.stored()) == {f"e{n}" for n in range(300)}


def test_a_shard_that_comes_back_is_waited_for(shards: Any, csv_file: Write, proxy: Callable[..., Any]) -> None:
    table = open_table(csv_file(*lines(600)))
    checked = check(table)

    async def run() -> Any:
        async with proxy(shards.server.port) as between:
            between.accepting = False
            threading.Timer(1.0, lambda: setattr(between, "accepting", True)).start()
            return await asyncio.to_thread(load, table, checked, shards.store(between.port), Journal.of("a"))

    assert asyncio.run(run()).retries > 0
    assert len(shards.stored()) == 600


def test_a_shard_that_stays_away_is_told_and_the_same_command_goes_on(
    shards: Any, csv_file: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = open_table(csv_file(*lines(10)))
    with monkeypatch.context() as hasty:
        hasty.setattr(sys.modules[load.__module__], "TRY_S", 0.2)
        hasty.setattr(sys.modules[load.__module__], "PATIENCE_S", 0.5)
        with pytest.raises(EnvironmentFailure, match="the load stopped: shard") as stopped:
            load(table, check(table), shards.store(port=1), Journal.of("a"))
    assert "run the same command again" in stopped.value.fix
    assert load(table, check(table), shards.store(), Journal.of("a")).rows == 10


def test_a_file_that_changes_while_it_is_loaded(shards: Any, csv_file: Write) -> None:
    file = csv_file(*lines(10))
    table = open_table(file)
    checked = check(table)
    csv_file(*lines(5), "e5,broken,1")
    with pytest.raises(InputError, match="changed while it was loaded: line 7"):
        load(table, checked, shards.store(), Journal.of("a"))


def test_journals_of_other_loads_are_others() -> None:
    one, other = Journal.of("content", "stack", "uid"), Journal.of("content", "stack", "uid2")
    one.write(7)
    assert (one.rows(), other.rows()) == (7, 0)
    one.path.write_text("{ broken")
    assert one.rows() == 0
    one.forget()
    one.forget()


def test_the_password_is_not_shown(shards: Any) -> None:
    from headroom.ops.features import Store  # noqa: PLC0415

    store = Store("postgresql://features:hunter2@x/features", shards.store().buckets, "uid")
    assert "hunter2" not in repr(store)
