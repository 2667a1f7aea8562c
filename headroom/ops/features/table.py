"""A file of features as rows: CSV, or Parquet with a column a feature or with one column of lists."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

from headroom.capacity.demand.problem import value_text
from headroom.errors import EnvironmentFailure, InputError

KEY = "entity_id"
LISTS = "features"
BATCH_ROWS = 10_000
HEADER_BYTES = 1_000_000
FIX = f"the file needs the column {KEY} and a column a feature (or, in Parquet, one column {LISTS} of lists)"


@dataclass(frozen=True)
class Row:
    """A row as the file has it, not looked at yet. `number` is a CSV's line, a Parquet file's row from 1."""

    number: int
    key: Any
    values: Sequence[Any]
    fault: str = ""
    """What makes it no row at all."""


class Table(Protocol):
    """A file that can be read several times from its start."""

    path: Path
    unit: str
    """What `Row.number` counts: "line" or "row"."""
    width: int | None
    """Features a row, None where only the rows tell."""

    def rows(self) -> Iterator[Row]:
        """Every row. Raises InputError where the file is no longer one."""


def open_table(path: Path) -> Table:
    """The table in a file, by the end of its name. Raises InputError for a file that is none, naming what is wrong."""
    if path.is_dir():
        raise InputError(f"{path} is a folder", fix="give the path of one .csv or .parquet file in it")
    if not path.is_file():
        raise InputError(f"there is no file {path}", fix="give the path of a .csv or .parquet file")
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise InputError(f"{path.name} is neither .csv nor .parquet", fix="convert it, or name it as what it is")
    return _Csv(path) if kind == ".csv" else _Parquet(path)


def _columns(path: Path, names: Sequence[str]) -> tuple[int, list[int]]:
    """The place of the key and those of the features."""
    if doubled := sorted(name for name, times in Counter(names).items() if times > 1):
        raise InputError(f"{path.name} has the column {value_text(doubled[0])} twice", fix="name every column once")
    if KEY not in names:
        shown = ", ".join(map(value_text, names[:5])) + (", …" if len(names) > 5 else "")
        raise InputError(f"{path.name} has no column {KEY} (it has {shown or 'none'})", fix=FIX)
    place = names.index(KEY)
    features = [n for n in range(len(names)) if n != place]
    if not features:
        raise InputError(f"{path.name} has no column beside {KEY}", fix=FIX)
    return place, features


class _Csv:
    unit = "line"

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            header = file.readline(HEADER_BYTES + 1)
        if len(header) > HEADER_BYTES:
            raise InputError(f"{path.name}: its first line is longer than {HEADER_BYTES:,} bytes", fix=FIX)
        try:
            names = next(csv.reader([header.decode("utf-8-sig").rstrip("\r\n")]), [])
        except UnicodeDecodeError as error:
            raise InputError(f"{path.name} is no CSV in UTF-8: {error}", fix="write it again in UTF-8") from None
        except csv.Error as error:
            raise _no_csv(path, 1, error) from None
        self._names = names
        self._place, self._features = _columns(path, names)
        self.width: int | None = len(self._features)

    def rows(self) -> Iterator[Row]:
        with self.path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            before = 0
            try:
                next(reader, None)
                before = reader.line_num
                for cells in reader:
                    number = before = reader.line_num
                    if not cells:
                        continue  # an empty line, such as the last one often is
                    if len(cells) != len(self._names):
                        yield Row(number, None, (), f"{len(cells)} columns, the header has {len(self._names)}")
                        continue
                    yield Row(number, cells[self._place], [cells[n] for n in self._features])
            except UnicodeDecodeError as error:
                raise InputError(
                    f"{self.path.name}:{_undecodable(self.path)}: cannot be read: {error.reason}",
                    fix="write it again in UTF-8",
                ) from None
            except csv.Error as error:
                raise _no_csv(self.path, before + 1, error) from None


def _no_csv(path: Path, line: int, error: csv.Error) -> InputError:
    """`line` is where the row begins: where a quote is not closed, the reader stops far behind it."""
    if "field limit" in str(error):
        return InputError(
            f"{path.name}:{line}: a field is longer than {csv.field_size_limit():,} characters",
            fix='close the quote (") that is open there, or take that column out',
        )
    return InputError(f"{path.name}:{line}: is no CSV: {error}", fix="write it again as CSV")


def _undecodable(path: Path) -> int:
    """The first line that is not UTF-8: the reader decodes far ahead of the line that it is at."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1


class _Parquet:
    unit = "row"

    def __init__(self, path: Path) -> None:
        try:
            arrow, self._parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
        except ImportError as missing:
            raise EnvironmentFailure(f"Parquet is read with pyarrow: {missing}", fix="pip install pyarrow") from None
        self.path = path
        try:
            schema = self._parquet.read_schema(path)
        except (arrow.ArrowException, OSError) as error:
            raise InputError(f"{path.name} is no Parquet file: {error}", fix="write it again, or give a CSV") from None
        self._failures = (arrow.ArrowException, OSError)
        place, features = _columns(path, schema.names)
        types = arrow.types
        key = schema.field(place).type
        if not (types.is_string(key) or types.is_large_string(key)):
            raise InputError(f"{path.name}: the column {KEY} is {key}, not text", fix="write it as strings")
        first = schema.field(features[0])
        self._lists = len(features) == 1 and (types.is_list(first.type) or types.is_large_list(first.type))
        self._lists = self._lists or (len(features) == 1 and types.is_fixed_size_list(first.type))
        for n in features:
            kind = schema.field(n).type.value_type if self._lists else schema.field(n).type
            if not (types.is_floating(kind) or types.is_integer(kind) or types.is_boolean(kind)):
                raise InputError(
                    f"{path.name}: the column {value_text(schema.field(n).name)} is {schema.field(n).type}, "
                    "which is no number",
                    fix="write every feature as a number",
                )
        self._columns = [schema.names[n] for n in features]
        self.width: int | None = None if self._lists else len(features)

    def rows(self) -> Iterator[Row]:
        number = 0
        try:
            with self._parquet.ParquetFile(self.path) as file:
                for batch in file.iter_batches(BATCH_ROWS, columns=[KEY, *self._columns]):
                    keys = batch.column(batch.schema.names.index(KEY)).to_pylist()
                    features = [batch.column(batch.schema.names.index(name)).to_pylist() for name in self._columns]
                    lines = features[0] if self._lists else zip(*features, strict=True)
                    for key, values in zip(keys, lines, strict=True):
                        number += 1
                        yield Row(number, key, () if values is None else values)
        except self._failures as error:
            raise InputError(f"{self.path.name}: cannot be read after row {number}: {error}") from None
