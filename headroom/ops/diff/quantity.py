"""Numbers out of plan values and Kubernetes quantities, only to tell larger from smaller."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

_FORM = re.compile(r"^([+-]?[0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-zA-Z]*)$")
_SCALE = {"": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3")} | {
    unit: Decimal(base) ** power
    for base, units in (
        (1000, ("k", "M", "G", "T", "P", "E")),
        (1000, ("kB", "MB", "GB", "TB", "PB", "EB")),
        (1024, ("Ki", "Mi", "Gi", "Ti", "Pi", "Ei")),
    )
    for power, unit in enumerate(units, start=1)
}


def number(value: Any) -> Decimal | None:
    """The value as a number (`2Gi` → 2147483648, `500m` → 0.5); None where it is none."""
    if isinstance(value, bool) or value is None:
        return None
    match = _FORM.match(str(value).strip())
    if match is None or match[2] not in _SCALE:
        return None
    return Decimal(match[1]) * _SCALE[match[2]]


def shrinks(before: Any, after: Any) -> bool:
    """Whether both are numbers and the second is smaller."""
    old, new = number(before), number(after)
    return old is not None and new is not None and new < old


def grows(before: Any, after: Any) -> bool:
    """Whether both are numbers and the second is larger."""
    return shrinks(after, before)
