"""Every row of a table looked at before the first is written: a file is loaded whole or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import isfinite
from typing import Any

from headroom.errors import InputError
from headroom.ops.features.table import Row, Table

LONGEST_KEY = 512
"""What the service's API takes."""
SHOWN = 20


@dataclass(frozen=True)
class Checked:
    """A table without a fault: rows, features a row, and the SHA-256 of the file as it was."""

    rows: int
    width: int
    digest: str


@dataclass(frozen=True)
class Entity:
    """One row as it is stored."""

    key: str
    features: list[float]


class BadRow(ValueError):
    """What is wrong with a row, in words."""


def entity(row: Row, width: int | None) -> Entity:
    """The row as an entity of `width` finite features (None: any number but 0). Raises BadRow."""
    key = row.key
    if row.fault:
        raise BadRow(row.fault)
    if not isinstance(key, str) or not key:
        raise BadRow("entity_id is empty")
    if len(key) > LONGEST_KEY:
        raise BadRow(f"entity_id has {len(key)} characters, {LONGEST_KEY} are taken")
    if "\0" in key:
        raise BadRow("entity_id holds a NUL, which PostgreSQL cannot store")
    try:
        features = [_number(value) for value in row.values]
    except (TypeError, ValueError):
        raise BadRow(_not_a_number(row)) from None
    if not features:
        raise BadRow("there are no features")
    if width is not None and len(features) != width:
        raise BadRow(f"{len(features)} features, the rows before have {width}")
    if not all(map(isfinite, features)):
        raise BadRow(_not_a_number(row))
    return Entity(key, features)


def entities(table: Table, width: int) -> Iterator[Entity]:
    """Every row of a checked table. Raises InputError when the file has changed into one with a fault."""
    for row in table.rows():
        try:
            yield entity(row, width)
        except BadRow as problem:
            raise InputError(
                f"{table.path.name} changed while it was loaded: {table.unit} {row.number}: {problem}",
                fix="let it rest, and load it again",
            ) from None


def check(table: Table, tell: Callable[[int], None] = lambda _: None) -> Checked:
    """Look at every row; `tell` hears the rows so far. Raises InputError naming the first bad rows and their number."""
    seen: dict[str, int] = {}
    bad: list[str] = []
    wrong = rows = 0
    width = table.width
    for row in table.rows():
        rows += 1
        try:
            found = entity(row, width)
            width = len(found.features)
            first = seen.setdefault(found.key, row.number)
            fault = "" if first == row.number else f"entity_id {found.key[:40]!r} is on {table.unit} {first} already"
        except BadRow as problem:
            fault = str(problem)
        if fault:
            wrong += 1
            if len(bad) < SHOWN:
                bad.append(f"{table.unit} {row.number}: {fault}")
        if rows % 10_000 == 0:
            tell(rows)
    tell(rows)
    if wrong:
        more = f"\n  … and {wrong - len(bad)} more" if wrong > len(bad) else ""
        raise InputError(
            f"{table.path.name} has {wrong} bad rows of {rows}; nothing was written\n  " + "\n  ".join(bad) + more,
            fix="mend or remove them, and run the same command again",
        )
    if not rows or width is None:
        raise InputError(f"{table.path.name} has no rows", fix="a row an entity")
    with table.path.open("rb") as file:
        return Checked(rows, width, hashlib.file_digest(file, "sha256").hexdigest())


def _number(value: Any) -> float:
    # float() takes 1_0 and the digits of every script, which is not what other readers of the file take them for.
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError(value)
    return float(value)


def _not_a_number(row: Row) -> str:
    for place, value in enumerate(row.values, start=1):
        try:
            if isfinite(_number(value)):
                continue
        except (TypeError, ValueError):
            pass
        shown = "empty" if value in (None, "") else repr(value)[:40]
        return f"feature {place} is {shown}, not a finite number"
    return "a feature is not a finite number"
