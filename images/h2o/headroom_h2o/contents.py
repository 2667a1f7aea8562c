"""What was saved: the record from which it is loaded again and checked."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Column:
    """A column and what its values add up to. `levels` is a hash of a categorical column's levels in their order.

    H2O's own checksum is no use here: it depends on how rows are cut into chunks, and that on the number of nodes.
    """

    name: str
    type: str
    levels: str = ""
    missing: int = 0
    zeros: int = 0
    low: float | None = None
    high: float | None = None
    mean: float | None = None


@dataclass(frozen=True)
class Frame:
    """`place` is the folder of its files."""

    key: str
    rows: int
    columns: tuple[Column, ...]
    place: str


@dataclass(frozen=True)
class Model:
    """`place` is its file in H2O's binary format, which loads in a cloud of any size and the same version."""

    key: str
    place: str


@dataclass(frozen=True)
class Saved:
    """`state` is `saved` until everything has been loaded and checked."""

    id: str
    state: Literal["saved", "loaded"]
    frames: tuple[Frame, ...]
    models: tuple[Model, ...]


def frame(document: Mapping[str, Any], place: str) -> Frame:
    """A frame from the answer of /3/Frames/KEY/summary."""
    return Frame(
        document["frame_id"]["name"], int(document["rows"]), tuple(_column(c) for c in document["columns"]), place
    )


def differences(was: Frame, now: Frame) -> list[str]:
    """How a loaded frame differs from the saved one; empty where it is the same."""
    found = []
    if was.rows != now.rows:
        found.append(f"{now.rows} rows instead of {was.rows}")
    if [c.name for c in was.columns] != [c.name for c in now.columns]:
        return [*found, "other columns"]
    for a, b in zip(was.columns, now.columns, strict=True):
        if not _alike(a.type, b.type):
            found.append(f"column {a.name} is {b.type} instead of {a.type}")
        elif a.missing != b.missing:
            found.append(f"column {a.name} has {b.missing} missing values instead of {a.missing}")
        elif a.levels == b.levels and not _same_values(a, b):
            found.append(f"column {a.name} has other values")
    return found


def pack(saved: Saved) -> dict[str, str]:
    """As the data of a ConfigMap, which may hold 1 MiB."""
    text = json.dumps(asdict(saved), separators=(",", ":")).encode()
    return {
        "state": saved.state,
        "summary": f"{len(saved.frames)} frames, {len(saved.models)} models, saved as {saved.id}",
        "record": base64.b64encode(gzip.compress(text, mtime=0)).decode(),
    }


def unpack(data: Mapping[str, str]) -> Saved | None:
    """From the data of a ConfigMap; None where nothing was ever saved."""
    if not data.get("record"):
        return None
    found = json.loads(gzip.decompress(base64.b64decode(data["record"])))
    frames = tuple(
        Frame(f["key"], f["rows"], tuple(Column(**c) for c in f["columns"]), f["place"]) for f in found["frames"]
    )
    return Saved(found["id"], found["state"], frames, tuple(Model(**m) for m in found["models"]))


def _alike(a: str, b: str) -> bool:
    # A column of whole numbers may have been saved as reals, and one without any value has no type to keep.
    numbers = {"int", "real"}
    return a == b or {a, b} <= numbers or "missing" in (a, b)


def _same_values(a: Column, b: Column) -> bool:
    # H2O's parser may move a real's last digit. Levels that it has sorted anew have other numbers: nothing to compare.
    span = max(abs(x or 0.0) for x in (a.low, a.high, a.mean))
    pairs = ((a.low, b.low), (a.high, b.high), (a.mean, b.mean))
    close = all((x is None) == (y is None) and abs((x or 0.0) - (y or 0.0)) <= 1e-9 * span for x, y in pairs)
    return a.zeros == b.zeros and close


def _column(document: Mapping[str, Any]) -> Column:
    levels = document.get("domain")
    return Column(
        document["label"],
        document["type"],
        hashlib.sha256(json.dumps(levels).encode()).hexdigest()[:16] if levels is not None else "",
        int(document["missing_count"]),
        int(document["zero_count"]),
        _number((document.get("mins") or [None])[0]),
        _number((document.get("maxs") or [None])[0]),
        _number(document.get("mean")),
    )


def _number(value: Any) -> float | None:
    """H2O writes what is no number as text."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
