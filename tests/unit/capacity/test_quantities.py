"""Quantities are read exactly, and written as Kubernetes and PostgreSQL have them."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.capacity import quantities as q


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("8ms", "0.008"),
        ("90s", "90"),
        ("5m", "300"),
        ("1h", "3600"),
        ("1.5s", "1.5"),
        ("250us", "0.00025"),
        ("1d", "86400"),
    ],
)
def test_seconds(text: str, seconds: str) -> None:
    assert q.seconds(text) == Decimal(seconds)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("2Gi", 2 * 2**30),
        ("10TB", 10**13),
        ("24GB", 24 * 10**9),
        ("512Mi", 2**29),
        ("1.5Ki", 1536),
        ("40MB", 4 * 10**7),
    ],
)
def test_octets(text: str, count: int) -> None:
    assert q.octets(text) == count


@pytest.mark.parametrize(("raw", "cores"), [("500m", "0.5"), ("1", "1"), (2, "2"), (0.25, "0.25"), ("1.5", "1.5")])
def test_cores(raw: object, cores: str) -> None:
    assert q.cores(raw) == Decimal(cores)


@pytest.mark.parametrize(("text", "months"), [("12mo", 12), ("1y", 12), ("0mo", 0), ("0.5y", 6)])
def test_months(text: str, months: int) -> None:
    assert q.months(text) == months


@pytest.mark.parametrize(
    ("read", "raw"),
    [
        (q.seconds, 8),
        (q.seconds, "8"),
        (q.seconds, "8 parsecs"),
        (q.seconds, "8Gi"),
        (q.seconds, True),
        (q.seconds, ["8ms"]),
        (q.octets, 2),
        (q.octets, "2gb"),
        (q.octets, "2ms"),
        (q.octets, "Gi"),
        (q.octets, "1e3Gi"),
        (q.octets, "９Gi"),
        (q.cores, "2 cores"),
        (q.cores, "0.0001"),
        (q.cores, float("nan")),
        (q.number, "10 rps"),
        (q.number, float("inf")),
        (q.number, "nan"),
        (q.number, 10**400),
        (q.number, Decimal("1e400")),
        (q.number, True),
        (q.whole, 3.5),
        (q.whole, "010"),
        (q.whole, "3 pods"),
        (q.months, "12"),
        (q.months, "0.1mo"),
    ],
)
def test_refused(read: object, raw: object) -> None:
    with pytest.raises(ValueError):
        read(raw)  # type: ignore[operator]


def test_floats_are_read_as_they_were_written() -> None:
    assert 50 * q.number(1.1) == 55
    assert q.number(0.1) + q.number(0.2) == Decimal("0.3")


@pytest.mark.parametrize(
    ("count", "text"), [(2**30, "1Gi"), (2**30 * 3 // 2, "1536Mi"), (41 * 2**20 - 1, "40Mi"), (2 * 10**9, "1907Mi")]
)
def test_memory_text(count: int, text: str) -> None:
    assert q.memory_text(count) == text


def test_other_texts() -> None:
    assert q.cpu_text(Decimal("0.25")) == "250m"
    assert q.cpu_text(4) == "4"
    assert q.volume_text(2**30 + 1) == "2Gi"
    assert q.postgres_memory("40Mi") == "40MB"
    assert q.postgres_memory("4Gi") == "4GB"
    assert q.postgres_memory("1Ki") == "1kB"
    assert q.size_text(Fraction(10**13)) == "10 TB"
    assert q.figure(Fraction(1, 3)) == "0.3333"
    assert q.figure(1234567) == "1,234,567"
    assert q.figure(Fraction(1, 10**9)) == "1e-09"


@given(st.one_of(st.integers(), st.floats(), st.text(max_size=30), st.decimals(), st.booleans(), st.none()))
def test_anything_is_read_or_refused(raw: object) -> None:
    for read in (q.number, q.whole, q.cores, q.octets, q.seconds, q.months):
        try:
            value = read(raw)
        except ValueError:
            continue
        assert -(10**40) < value < 10**40


@given(st.integers(1, 2**50))
def test_memory_text_never_exceeds(count: int) -> None:
    assert q.octets(q.memory_text(count)) <= count
    assert q.octets(q.volume_text(count)) >= count
