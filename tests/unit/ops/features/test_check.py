"""What a file must be: bad rows are named by their lines before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.errors import InputError
from headroom.ops.features import check, open_table
from headroom.ops.features.check import BadRow, entities, entity
from headroom.ops.features.table import Row

Write = Callable[..., Path]


def read(file: Path) -> list[tuple[str, list[float]]]:
    table = open_table(file)
    return [(e.key, e.features) for e in entities(table, check(table).width)]


def test_a_csv(csv_file: Write) -> None:
    file = csv_file("b,entity_id,a", "1,x,2.5", '-1e3,"y,z",0', "")
    assert read(file) == [("x", [1.0, 2.5]), ("y,z", [-1000.0, 0.0])]


def test_a_csv_with_a_byte_order_mark_and_windows_lines(tmp_path: Path) -> None:
    file = tmp_path / "excel.csv"
    file.write_bytes("\ufeffentity_id,a\r\nx,1\r\n".encode())
    assert read(file) == [("x", [1.0])]


@pytest.mark.parametrize("kind", ["columns", "lists", "fixed"])
def test_parquet(tmp_path: Path, kind: str) -> None:
    rows = [[1.0, 2.0], [3.0, 4.0]]
    columns: dict[str, Any] = {"entity_id": ["x", "y"]}
    if kind == "columns":
        columns |= {"a": pa.array([1, 3], pa.int32()), "b": pa.array([2.0, 4.0], pa.float32())}
    else:
        columns["features"] = pa.array(rows, pa.list_(pa.float64(), 2) if kind == "fixed" else pa.list_(pa.float64()))
    pq.write_table(pa.table(columns), tmp_path / "f.parquet")
    assert read(tmp_path / "f.parquet") == [("x", rows[0]), ("y", rows[1])]


def test_every_kind_of_bad_row_is_named_by_its_line(csv_file: Write) -> None:
    file = csv_file(
        *("entity_id,a,b", "good,1,2", ",1,2", "text,1,much", "empty,1,", "nan,nan,1", "inf,1,-inf"),
        *("short,1", "long,1,2,3", "good,3,4", f"{'x' * 513},1,2", '"two', 'lines",1,2', "after,1,x"),
    )
    with pytest.raises(InputError) as refused:
        check(open_table(file))
    said = refused.value.message.splitlines()
    assert said[0] == "features.csv has 10 bad rows of 12; nothing was written"
    assert [line.strip() for line in said[1:]] == [
        "line 3: entity_id is empty",
        "line 4: feature 2 is 'much', not a finite number",
        "line 5: feature 2 is empty, not a finite number",
        "line 6: feature 1 is 'nan', not a finite number",
        "line 7: feature 2 is '-inf', not a finite number",
        "line 8: 2 columns, the header has 3",
        "line 9: 4 columns, the header has 3",
        "line 10: entity_id 'good' is on line 2 already",
        "line 11: entity_id has 513 characters, 512 are taken",
        "line 14: feature 2 is 'x', not a finite number",
    ]


def test_parquet_rows_are_counted_from_one(tmp_path: Path) -> None:
    table = pa.table({"entity_id": ["x", None, "x", "z"], "features": [[1.0], [2.0], [3.0], [1.0, 2.0]]})
    pq.write_table(table, tmp_path / "f.parquet")
    with pytest.raises(InputError, match="3 bad rows of 4") as refused:
        check(open_table(tmp_path / "f.parquet"))
    said = refused.value.message
    assert "row 2: entity_id is empty" in said
    assert "row 3: entity_id 'x' is on row 1 already" in said
    assert "row 4: 2 features, the rows before have 1" in said


def test_a_thousand_bad_rows_are_counted_and_not_all_shown(csv_file: Write) -> None:
    with pytest.raises(InputError) as refused:
        check(open_table(csv_file("entity_id,a", *(f"e{n},bad" for n in range(1000)))))
    assert "1000 bad rows of 1000" in refused.value.message
    assert "… and 980 more" in refused.value.message
    assert len(refused.value.message.splitlines()) == 22


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (("id,a", "x,1"), "no column entity_id (it has 'id', 'a')"),
        (("\x1b]0;x\x07id,a", "x,1"), "(it has '\ufffd]0;x\ufffdid', 'a')"),
        (("entity_id,\x1b[2J,\x1b[2J", "x,1,2"), "the column '\ufffd[2J' twice"),
        (("entity_id," + "a" * 1_000_000,), "first line is longer than 1,000,000 bytes"),
        (("entity_id", "x"), "no column beside entity_id"),
        (("entity_id,a,a", "x,1,2"), "the column 'a' twice"),
        (("entity_id,a",), "has no rows"),
        ((), "no column entity_id (it has none)"),
    ],
)
def test_a_file_that_is_no_table(csv_file: Write, lines: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError) as refused:
        check(open_table(csv_file(*lines)))
    assert said in str(refused.value)


def test_files_that_cannot_be_read(tmp_path: Path, csv_file: Write) -> None:
    with pytest.raises(InputError, match="there is no file"):
        open_table(tmp_path / "gone.csv")
    with pytest.raises(InputError, match=r"neither \.csv nor \.parquet"):
        open_table(csv_file("x", name="features.xlsx"))
    with pytest.raises(InputError, match="no Parquet file"):
        open_table(csv_file("entity_id,a", "x,1", name="f.parquet"))
    latin = tmp_path / "latin.csv"
    latin.write_bytes(b"entity_id,a\n" + b"x,1\n" * 5 + b"m\xfcller,1\n")
    with pytest.raises(InputError, match=r"latin\.csv:7: cannot be read") as refused:
        check(open_table(latin))
    assert "UTF-8" in refused.value.fix
    words = pa.table({"entity_id": ["x"], "a": ["word"]})
    pq.write_table(words, tmp_path / "words.parquet")
    with pytest.raises(InputError, match="'a' is string, which is no number"):
        open_table(tmp_path / "words.parquet")


@pytest.mark.parametrize("field", ["9" * 200_000, '"open\n' + "x,1\n" * 50_000])
def test_a_field_that_never_ends_is_named_by_the_line_it_begins_on(csv_file: Write, field: str) -> None:
    with pytest.raises(InputError, match=r"features\.csv:3: a field is longer than 131,072 characters") as refused:
        check(open_table(csv_file("entity_id,a", "x,1", f"y,{field}")))
    assert "quote" in refused.value.fix and "UTF-8" not in refused.value.fix
    with pytest.raises(InputError, match=r"features\.csv:1: a field is longer"):
        open_table(csv_file(f"entity_id,{'a' * 200_000}"))


@pytest.mark.parametrize("text", ["1_0", "\u0661", "\uff11", "1\u00a0"])
def test_only_plain_numbers_are_numbers(csv_file: Write, text: str) -> None:
    with pytest.raises(InputError, match=r"line 2: feature 2 is .*, not a finite number"):
        check(open_table(csv_file("entity_id,a,b", f"x,1,{text}")))


def test_a_hundred_thousand_columns(csv_file: Write) -> None:
    # Names that are counted one by one take 1e10 comparisons: minutes.
    names = [f"f{n}" for n in range(100_000)]
    assert open_table(csv_file(f"entity_id,{','.join(names)}")).width == 100_000


@given(st.text(max_size=600), st.lists(st.one_of(st.none(), st.floats(), st.text(max_size=5)), max_size=4))
def test_a_row_is_either_stored_as_it_is_or_refused(key: str, values: list[Any]) -> None:
    try:
        found = entity(Row(1, key, values), None)
    except BadRow:
        return
    assert found.key == key
    assert found.features == [float(value) for value in values]
    found.key.encode()  # PostgreSQL and the bucket's hash take UTF-8
