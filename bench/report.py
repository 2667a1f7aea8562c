"""One measured figure, the table of them, and the file they go to."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Measurement:
    """A figure, its unit, the target it is held against (`<= 20`, `>= 0.8`, or empty), and every sample behind it."""

    name: str
    value: float
    unit: str
    target: str
    samples: tuple[float, ...]

    def met(self) -> bool | None:
        """Whether the target is met; None without a target."""
        if not self.target:
            return None
        relation, bound = self.target.split()
        return self.value <= float(bound) if relation == "<=" else self.value >= float(bound)


def median(name: str, samples: Sequence[float], unit: str, target: str = "") -> Measurement:
    """The median of the samples: one slow moment of a shared machine does not decide."""
    return Measurement(name, round(statistics.median(samples), 4), unit, target, tuple(round(s, 4) for s in samples))


def worst(name: str, samples: Sequence[float], unit: str, target: str = "") -> Measurement:
    """The largest sample, for promises that hold always."""
    return Measurement(name, round(max(samples), 4), unit, target, tuple(round(s, 4) for s in samples))


def publish(area: str, measured: Sequence[Measurement]) -> None:
    """Print the table and write `bench/results/<area>.json`."""
    table = Table("figure", "value", "unit", "target", "met", "samples", title=f"bench {area}", title_justify="left")
    for m in measured:
        met = {None: "", True: "yes", False: "no"}[m.met()]
        table.add_row(m.name, f"{m.value:g}", m.unit, m.target, met, str(len(m.samples)))
    Console().print(table)
    RESULTS.mkdir(exist_ok=True)
    rows = [{**asdict(m), "samples": list(m.samples)} for m in measured]
    (RESULTS / f"{area}.json").write_text(json.dumps(rows, indent=2) + "\n")
