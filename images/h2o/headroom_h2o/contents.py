"""What was saved: the record from which it is loaded again and checked."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Column:
    """`levels` is a hash of a categorical column's levels in their order, empty for other columns."""

    name: str
    type: str
    levels: str = ""


@dataclass(frozen=True)
class Frame:
    """`place` is the folder of its Parquet files; `checksum` is H2O's own, over the values wherever they lie."""

    key: str
    rows: int
    columns: tuple[Column, ...]
    checksum: int
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
    columns = tuple(Column(c["label"], c["type"], _levels(c)) for c in document["columns"])
    return Frame(
        document["frame_id"]["name"], int(document["rows"]), columns, int(document.get("checksum") or 0), place
    )


def differences(was: Frame, now: Frame) -> list[str]:
    """How a loaded frame differs from the saved one; empty where it is the same.

    H2O sorts a categorical column's levels when it reads them, and its checksum is over their numbers: where an order
    was another one, only rows, names and types can be compared.
    """
    found = []
    if was.rows != now.rows:
        found.append(f"{now.rows} rows instead of {was.rows}")
    names = [c.name for c in was.columns]
    if names != [c.name for c in now.columns]:
        found.append("other columns")
    else:
        pairs = list(zip(was.columns, now.columns, strict=True))
        found += [f"column {a.name} is {b.type} instead of {a.type}" for a, b in pairs if not _alike(a.type, b.type)]
        same_levels = all(a.levels == b.levels for a, b in pairs)
        if not found and same_levels and was.checksum != now.checksum:
            found.append("another checksum")
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
        Frame(f["key"], f["rows"], tuple(Column(**c) for c in f["columns"]), f["checksum"], f["place"])
        for f in found["frames"]
    )
    return Saved(found["id"], found["state"], frames, tuple(Model(**m) for m in found["models"]))


def _alike(a: str, b: str) -> bool:
    # A column of whole numbers may have been saved as reals, and one without any value has no type to keep.
    numbers = {"int", "real"}
    return a == b or {a, b} <= numbers or "missing" in (a, b)


def _levels(column: Mapping[str, Any]) -> str:
    levels = column.get("domain")
    return hashlib.sha256(json.dumps(levels).encode()).hexdigest()[:16] if levels is not None else ""
