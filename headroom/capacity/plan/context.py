"""One service while it is being sized, and one pod of it as a queue."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction

from headroom.capacity.demand.services import ServiceDemand
from headroom.capacity.plan import latency
from headroom.capacity.plan.model import Caution, Environment, Sized
from headroom.capacity.quantities import figure


@dataclass
class ServiceContext:
    """A service, its surroundings, and what is found on the way: assumptions and warnings."""

    key: str
    demand: ServiceDemand
    environment: Environment
    months: int
    assumptions: list[Sized[int] | Sized[Decimal]] = field(default_factory=list)
    warnings: list[Caution] = field(default_factory=list)

    def warn(self, message: str) -> None:
        self.warnings.append(Caution(self.key, message))

    def path(self, key: str) -> str:
        return f"services.{self.key}.{key}"


@dataclass(frozen=True)
class PodQueue:
    """One pod as a queue: threads that serve at once, mean service time (s), coefficient of variation."""

    servers: int
    service: Decimal
    cv: Decimal

    def p99milliseconds(self, rate: Fraction) -> float:
        return 1000 * latency.p99(float(rate), self.servers, float(self.service), float(self.cv))

    def meets(self, sla: Decimal, rate: Fraction) -> bool:
        return latency.meets(float(sla), float(rate), self.servers, float(self.service), float(self.cv))

    def pods(self, sla: Decimal, rate: Fraction) -> int | None:
        if rate <= 0:
            return 0
        return latency.pods_needed(float(rate), self.servers, float(self.service), float(self.cv), float(sla))

    def floormilliseconds(self) -> float:
        return 1000 * latency.floor_p99(float(self.service), float(self.cv))


def milliseconds(seconds: Decimal) -> str:
    """Seconds as text in milliseconds."""
    return f"{figure(seconds * 1000)} ms"
