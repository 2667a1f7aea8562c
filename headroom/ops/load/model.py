"""What is sent, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Shape:
    """The requests: `bodies` are sent in turn as JSON with POST; without any, GET. `timeout_s` ends a request."""

    path: str
    bodies: tuple[str, ...] = ()
    timeout_s: float = 10.0


@dataclass(frozen=True)
class Reading:
    """One run at one rate. Latencies are of the accepted requests (2xx), from the moment that each was due to be sent
    until its last byte; infinite where none was accepted."""

    rate: float
    """Requests a second that were asked for."""
    seconds: float
    accepted: int
    refused: int
    """503: the service said that it is full."""
    unknown: int
    """404."""
    failed: int
    """Any other answer."""
    silent: int
    """No answer: refused connections, cut ones, timeouts."""
    unsent: int
    """What the generator could not send on time because all its clients were still waiting."""
    mean_ms: float = inf
    p50_ms: float = inf
    p95_ms: float = inf
    p99_ms: float = inf
    worst_ms: float = inf
    cv: float = 0.0
    """Standard deviation of the latency over its mean."""

    @property
    def rps(self) -> float:
        """Accepted requests a second."""
        return self.accepted / self.seconds

    @property
    def due(self) -> int:
        """Requests that should have been sent."""
        return self.accepted + self.errors

    @property
    def errors(self) -> int:
        """Everything that was not accepted, unsent requests among them."""
        return self.refused + self.unknown + self.failed + self.silent + self.unsent

    @property
    def error_share(self) -> float:
        """Errors over all that were due; 1 when nothing was."""
        return self.errors / self.due if self.due else 1.0
