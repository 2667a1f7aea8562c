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


def known() -> dict[str, float]:
    """Seconds of the latest build of each."""
    if not file().exists():
        return {}
    lines = [json.loads(line) for line in file().read_text().splitlines()]
    return {line["what"]: line["seconds"] for line in lines}
