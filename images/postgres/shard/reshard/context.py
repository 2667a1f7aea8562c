"""What every move needs, and the ways in which one ends without having arrived."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from shard.reshard.server import Server, Session
from shard.reshard.throttle import Throttle


class Stopped(Exception):
    """A person asked for it; `take_back` has the bucket where it was."""


class Differs(Exception):
    """The target does not have what the source had. The source's copy is kept, and somebody must look."""


class Fences:
    """The buckets whose writes may wait at this moment: a process that is told to go lets them go on first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._shut: set[int] = set()
        self._leaving = False

    def begin(self, bucket: int) -> None:
        """Its writes are about to wait. Never returns once the process leaves."""
        with self._changed:
            self._changed.wait_for(lambda: not self._leaving)
            self._shut.add(bucket)

    def end(self, bucket: int) -> None:
        """Its writes go on, at whichever side."""
        with self._changed:
            self._shut.discard(bucket)
            self._changed.notify_all()

    def leave(self, seconds: float) -> None:
        """Return once no bucket's writes wait, or after that time."""
        with self._changed:
            self._leaving = True
            self._changed.wait_for(lambda: not self._shut, seconds)


@dataclass
class Context:
    """What every move needs.

    `reached` is told each point that is passed (tests stop there); `stopping` says whether a person wants the moves
    before their flip taken back; `ready` returns once clients can reach every shard; `hold` raises when the lease is
    another mover's; `fences` knows whether writes wait.
    """

    servers: Mapping[int, Server]
    holder: str
    throttle: Throttle = field(default_factory=lambda: Throttle(0))
    reached: Callable[[str, int], None] = lambda _point, _bucket: None
    stopping: Callable[[], bool] = lambda: False
    ready: Callable[[], None] = lambda: None
    hold: Callable[[], None] = lambda: None
    fences: Fences = field(default_factory=Fences)

    def session(self, shard: int) -> Session:
        """A session on a shard's primary."""
        return Session(self.servers[shard], self.holder)


def reason(error: BaseException) -> str:
    """One line, for the journal and the log. Programs of PostgreSQL say it on their standard error."""
    heard = getattr(error, "stderr", None)
    if heard:
        return str(heard.decode(errors="replace")).strip().splitlines()[-1][:300]
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
