"""The profile of one pod: the rate stepped up, with an eye on the pods and on the CPU time that they use."""

from __future__ import annotations

from dataclasses import dataclass

from headroom.ops.load.find import Found, find
from headroom.ops.load.k6 import Generator
from headroom.ops.load.model import Reading, Shape
from headroom.ops.load.reach import Place
from headroom.progress import Progress, step

STEP_S = 6
WARM_S = 2


@dataclass(frozen=True)
class Measured:
    """What was found, every run on the way, and how many pods there were behind the address at least and at most (0:
    nobody told). `cpu_time_s` is CPU seconds a request at the best rate, None where pods do not tell."""

    found: Found
    readings: tuple[Reading, ...]
    fewest_pods: int
    most_pods: int
    cpu_time_s: float | None


def measure(generator: Generator, place: Place, shape: Shape, p99_ms: float | None, progress: Progress) -> Measured:
    """Find the highest rate within the p99, in about two minutes. Raises EnvironmentFailure as `find` does."""
    readings: list[Reading] = []
    costs: dict[float, float] = {}
    pods: list[int] = []

    def run(rate: float | None) -> Reading:
        what = "one client" if rate is None else f"{rate:,.0f} requests a second"
        with step(progress, f"{what} to {place.url}"):
            pods.append(len(place.pods()))
            before = place.used()
            readings.append(generator.run(place.url, shape, rate, STEP_S, progress, warm_s=WARM_S))
            after = place.used()
            pods.append(len(place.pods()))
        if rate is not None and before is not None and after is not None and after.requests > before.requests:
            costs[rate] = (after.cpu_s - before.cpu_s) / (after.requests - before.requests)
        return readings[-1]

    found = find(run, p99_ms, alone=lambda: run(None))
    cost = costs.get(found.best.rate, 0.0)
    return Measured(found, tuple(readings), min(pods), max(pods), cost if cost > 0 else None)
