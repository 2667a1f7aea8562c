"""One process of the inference service on one core, beside other ways to serve the same model."""

from __future__ import annotations

from collections.abc import Iterator

from bench.report import Measurement


def measure() -> Iterator[Measurement]:
    """The figures of the inference area."""
    from bench.inference.run import measure  # noqa: PLC0415 - `python -m bench.inference.run` would load it twice

    return measure()
