"""How long each program and image took to build on this machine: a line each, kept with what was built."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headroom.local import paths


def file() -> Path:
    return paths.cache() / "build-times.jsonl"


@contextmanager
def kept(what: str) -> Iterator[None]:
    """Write down how long the block took, when it succeeds."""
    began = time.monotonic()
    yield
    line = {"what": what, "seconds": round(time.monotonic() - began, 1), "at": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    with file().open("a") as out:
        out.write(json.dumps(line) + "\n")


def known() -> dict[str, list[float]]:
    """Seconds of every build of each, in order: the first was cold, later ones had compiled packages or layers."""
    found: dict[str, list[float]] = {}
    for line in file().read_text().splitlines() if file().exists() else ():
        build = json.loads(line)
        found.setdefault(build["what"], []).append(build["seconds"])
    return found
