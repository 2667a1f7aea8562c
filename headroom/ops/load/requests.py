"""What to ask a service for."""

from __future__ import annotations

import json
from pathlib import Path

from headroom.capacity.plan.model import ServicePlan
from headroom.errors import InputError
from headroom.ops.load.model import Shape

SAMPLE_ENTITIES = 569
"""Of the sample that the inference image is trained on."""
MOST_BODIES = 100_000
KEY = "entity_id"
NAMES = "--entities with a file of entity names, one a line; a CSV of features will do"


def requests(
    service: ServicePlan, *, path: str | None, body: Path | None, entities: Path | None, timeout_s: float
) -> Shape:
    """The requests for a service: as given, else POST /predict for the sample's entities with preset fastapi.

    `body` is a file of JSON documents, one a line; `entities` one of entity names, one a line (a CSV of features will
    do). Raises InputError for a file without any, or a service that needs a path.
    """
    if path is not None and not path.startswith("/"):
        raise InputError(f"--path {path} does not begin with /", fix=f"--path /{path}")
    if body is not None and entities is not None:
        raise InputError("--body and --entities are two ways to say the same", fix="give one of them")
    if body is not None:
        return Shape(path or "/predict", _bodies(body), timeout_s)
    if entities is not None or (path is None and service.preset == "fastapi"):
        names = _names(entities) if entities else [f"entity-{number:04d}" for number in range(SAMPLE_ENTITIES)]
        return Shape(path or "/predict", tuple(json.dumps({KEY: name}) for name in names), timeout_s)
    if path is None:
        raise InputError(
            f"what to ask a service of preset {service.preset} for is not known",
            fix="--path /some/path for GET, with --body FILE for POST",
        )
    return Shape(path, (), timeout_s)


def _bodies(file: Path) -> tuple[str, ...]:
    lines = _lines(file, "--body with a file of JSON documents, one a line")
    for number, line in enumerate(lines, start=1):
        try:
            json.loads(line)
        except ValueError as error:
            raise InputError(f"{file.name}:{number} is no JSON: {error}", fix="one JSON document a line") from None
    return tuple(lines)


def _names(file: Path) -> list[str]:
    names = [line.partition(",")[0].strip().strip('"') for line in _lines(file, NAMES)]
    return names[1:] if names[0] == KEY and len(names) > 1 else names


def _lines(file: Path, fix: str) -> list[str]:
    try:
        with file.open(encoding="utf-8") as opened:
            found = [line.strip() for line, _ in zip(opened, range(MOST_BODIES + 1), strict=False) if line.strip()]
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}", fix=fix) from None
    except UnicodeDecodeError:
        raise InputError(f"{file} is not UTF-8 text", fix=f"save it as UTF-8; {fix}") from None
    if not found:
        raise InputError(f"{file} is empty", fix=fix)
    return found
