"""The moment by which an answer is of use. Every timeout below a request derives from it."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of the monotonic clock, in seconds (`time.monotonic`, which is also the event loop's clock)."""

    at: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The deadline that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def remaining(self) -> float:
        """Seconds left; 0 when it has passed."""
        return max(0.0, self.at - time.monotonic())

    def passed(self) -> bool:
        """Whether an answer would come too late."""
        return time.monotonic() >= self.at

    def within(self, seconds: float) -> float:
        """Seconds that one step may take: that many, but never beyond the deadline."""
        return min(seconds, self.remaining())
