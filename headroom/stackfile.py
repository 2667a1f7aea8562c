"""A stack file as a whole document, for those who pass it on; only `headroom.capacity.demand` reads its meaning."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

from headroom.capacity.demand import source
from headroom.errors import InputError


def document(file: Path) -> dict[str, Any]:
    """The document of a YAML file as plain data, as the plan reads it; empty for an empty file. Raises InputError."""
    content = _plain(source.document(file))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{file} must be a mapping, not {type(content).__name__}", fix="write `config:` and its keys")
    return content


def _plain(value: Any) -> Any:
    """Without decimals, which JSON has no form for: the number that the Pulumi CLI would hand on."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    return value
