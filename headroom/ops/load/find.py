"""What one pod carries: the rate is tripled until the p99 or the errors break, then the edge is closed in on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isinf, sqrt

from headroom.errors import EnvironmentFailure
from headroom.ops.load.judge import misses
from headroom.ops.load.model import Reading

REST_RPS = 10.0
"""Where the search begins. A service that does not hold it is not measured."""
GROWTH = 3
STEPS = 14
EDGE = 1.12
"""How far apart the highest rate that held and the lowest that did not may be."""
WITHOUT_SLA = 10.0
"""Where no latency is promised, a p99 of so many times the mean at rest counts as broken."""
FASTEST_RPS = 50_000.0


@dataclass(frozen=True)
class Found:
    """The service at rest, the highest rate that held, and what broke at the next one (empty: nothing ever did)."""

    rest: Reading
    best: Reading
    p99_ms: float
    """The bound on the p99 that was held."""
    broke: tuple[str, ...]


def find(
    run: Callable[[float], Reading],
    p99_ms: float | None,
    *,
    alone: Callable[[], Reading] | None = None,
    least_rps: float = REST_RPS,
) -> Found:
    """Step the rate with `run`. At most STEPS runs, and before them one at rest and the one of `alone`.

    `alone` reads the service with requests that never meet; without it that is the run at `least_rps`.

    Raises EnvironmentFailure when the service does not even hold at rest.
    """
    best = run(least_rps)
    rest = best if alone is None or isinf(best.mean_ms) else alone()
    bound = p99_ms if p99_ms is not None else WITHOUT_SLA * rest.mean_ms
    if isinf(rest.mean_ms) or (broken := misses(best, bound)):
        why = "; ".join(broken) if not isinf(rest.mean_ms) else "no request was accepted"
        raise EnvironmentFailure(
            f"at {least_rps:g} requests a second the service does not hold: {why}",
            fix=advice(best) or "see headroom verify, and the service's log",
        )
    rate, high = least_rps * GROWTH, FASTEST_RPS * 2 * GROWTH
    broke: tuple[str, ...] = ()
    for _ in range(STEPS):
        found = run(rate)
        if said := misses(found, bound):
            high, broke = rate, tuple(said)
        else:
            best = found
        if high / best.rate <= EDGE or best.rate >= FASTEST_RPS:
            break
        rate = best.rate * GROWTH if not broke else sqrt(best.rate * high)
    return Found(rest, best, bound, broke)


def advice(found: Reading) -> str:
    """What a person can do about a reading's errors, where one kind of them says it; else empty."""
    if found.unknown > found.due / 2:
        return "the entities have no features: headroom features load FILE, or give your own with --entities"
    if found.silent > found.due / 2:
        return "nothing answers there: check --url, and headroom verify"
    return ""
