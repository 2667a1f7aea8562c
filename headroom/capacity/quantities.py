"""Quantities with units, exactly: CPU cores, bytes, seconds and months, read from text and written for Kubernetes.

Nothing here is a float: `0.1` read from a stack file is the decimal 0.1. Readers raise `ValueError` with the rule that
was broken, in words; the caller knows the key.
"""

from __future__ import annotations

import re
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

Number = int | Decimal | Fraction

KI, MI, GI, TI, PI = (1024**n for n in range(1, 6))
BYTES: dict[str, int] = {
    **{"Ki": KI, "Mi": MI, "Gi": GI, "Ti": TI, "Pi": PI},
    **{"KiB": KI, "MiB": MI, "GiB": GI, "TiB": TI, "PiB": PI},
    **{"k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15},
    **{"kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "PB": 10**15},
}
SECONDS: dict[str, Decimal] = {
    "us": Decimal("0.000001"),
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
MONTHS = {"mo": 1, "y": 12}

# Digits are bounded so that no text, however long, costs more than a moment. A leading zero is refused: 010 is ten to
# some readers of YAML and eight to others.
_NUMBER = r"[+-]?(?:(?:0|[1-9]\d{0,17})(?:\.\d{0,18})?|\.\d{1,18})"
_QUANTITY = re.compile(rf"({_NUMBER})\s?([A-Za-z]{{0,4}})", re.ASCII)
_DECIMAL = re.compile(rf"{_NUMBER}(?:[eE][+-]?\d{{1,2}})?", re.ASCII)


def number(raw: object) -> Decimal:
    """A plain number, given as a number or as its text. Booleans, infinities and units are refused."""
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal | str):
        raise ValueError("must be a number")  # noqa: TRY004
    text = _text(raw)
    if not _DECIMAL.fullmatch(text):
        raise ValueError("must be a plain number without a unit")
    return Decimal(text)


def whole(raw: object) -> int:
    """A whole number; 3.0 is one, 3.5 and "3 pods" are not."""
    value = number(raw)
    if value != value.to_integral_value():
        raise ValueError("must be a whole number")
    return int(value)


def cores(raw: object) -> Decimal:
    """CPU in cores: `"2"`, `1.5`, `500m`."""
    value, unit = _split(raw, 'CPU in cores, for example "2" or 500m')
    if unit not in ("", "m"):
        raise ValueError(f'has the unit {unit!r}, but CPU is cores ("2") or thousandths of one (500m)')
    found = value / 1000 if unit else value
    if found * 1000 != (found * 1000).to_integral_value():
        raise ValueError("is finer than a thousandth of a core (1m), which is the least that Kubernetes knows")
    return found


def octets(raw: object) -> int:
    """Bytes: `2Gi` (binary), `24GB` and `10TB` (decimal). A bare number is refused: it says no unit."""
    value, unit = _split(raw, "a size with its unit, for example 2Gi or 10TB")
    if unit not in BYTES:
        known = "Ki, Mi, Gi, Ti (binary), kB, MB, GB, TB (decimal)"
        raise ValueError(f"has {f'the unit {unit!r}' if unit else 'no unit'}; sizes are in {known}")
    return floor(value * BYTES[unit])


def seconds(raw: object) -> Decimal:
    """A duration in seconds: `8ms`, `90s`, `5m`, `1h`. A bare number is refused: it says no unit."""
    value, unit = _split(raw, "a duration with its unit, for example 50ms or 90s")
    if unit not in SECONDS:
        raise ValueError(f"has {f'the unit {unit!r}' if unit else 'no unit'}; durations are in us, ms, s, m, h, d")
    return value * SECONDS[unit]


def months(raw: object) -> int:
    """Whole months: `12mo`, `1y`."""
    value, unit = _split(raw, "a time ahead with its unit, for example 12mo or 1y")
    if unit not in MONTHS:
        raise ValueError(
            f"has {f'the unit {unit!r}' if unit else 'no unit'}; a time ahead is in mo (months) or y (years)"
        )
    found = value * MONTHS[unit]
    if found != found.to_integral_value():
        raise ValueError("must be a whole number of months")
    return int(found)


def cpu_text(value: Number) -> str:
    """Cores as Kubernetes writes them back: `2`, `500m`; rounded up to a thousandth."""
    milli = ceil(value * 1000)
    return f"{milli}m" if milli % 1000 else str(milli // 1000)


def memory_text(value: Number) -> str:
    """Bytes as a Kubernetes quantity: whole `Gi` where it is one, else floored to `Mi` (to `Ki` below one)."""
    count = floor(value)
    if count >= GI and count % GI == 0:
        return f"{count // GI}Gi"
    return f"{count // MI}Mi" if count >= MI else f"{count // KI}Ki"


def volume_text(value: Number) -> str:
    """Bytes as whole `Gi`, rounded up: a volume never comes out smaller than what was asked."""
    return f"{max(1, ceil(Fraction(value) / GI))}Gi"


def size_text(value: Number) -> str:
    """A data set as people write it, decimal: `10 TB`."""
    count = Fraction(value)
    for unit, size in (("PB", 10**15), ("TB", 10**12), ("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{figure(count / size, 3)} {unit}"
    return f"{figure(count / 1000, 3)} kB"


def postgres_memory(quantity: str) -> str:
    """A Kubernetes quantity as PostgreSQL writes memory, whose units (`kB` to `TB`) are binary: `40Mi` to `40MB`."""
    count = octets(quantity)
    for unit, size in (("TB", 1024 * GI), ("GB", GI), ("MB", MI)):
        if count % size == 0:
            return f"{count // size}{unit}"
    return f"{count // KI}kB"


def figure(value: Number, digits: int = 4) -> str:
    """A number for people: thousands separated, at most `digits` decimals, no trailing zeros."""
    if isinstance(value, int):
        return f"{value:,}"
    exact = Fraction(value)
    if exact.denominator == 1:
        return f"{exact.numerator:,}"
    text = f"{float(exact):,.{digits}f}".rstrip("0").rstrip(".")
    return text if text not in ("0", "-0") else f"{float(exact):.2g}"


def _split(raw: object, what: str) -> tuple[Decimal, str]:
    if isinstance(raw, bool) or not isinstance(raw, int | float | Decimal | str):
        raise ValueError(f"must be {what}")  # noqa: TRY004
    found = _QUANTITY.fullmatch(_text(raw))
    if not found:
        raise ValueError(f"must be {what}")
    return Decimal(found[1]), found[2]


def _text(raw: object) -> str:
    """The text of a number; `str` of a huge int would itself raise, so those are cut off first."""
    if isinstance(raw, int) and abs(raw) >= 10**18:
        raise ValueError("is larger than anything that can be planned")
    if isinstance(raw, float):
        return f"{Decimal(repr(raw)):f}" if raw == raw and abs(raw) < 10**18 else "not finite"  # noqa: PLR0124
    return f"{raw:f}" if isinstance(raw, Decimal) and raw.is_finite() and abs(raw.adjusted()) < 18 else str(raw).strip()
