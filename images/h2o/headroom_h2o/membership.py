"""Who is in a cloud together, and when all must leave it: pure decisions.

Every start of an H2O process has a token. A node starts only when it sees all others ready to start too, and
remembers their tokens. H2O takes nobody into a cloud that has worked, so a token that is not among them means that a
node was lost, and all leave; whoever leaves has a new token, from which the others learn it. No node commands another.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Phase = Literal["leaving", "waiting", "running"]

UNSEEN_SECONDS = 60.0
"""A silent peer is lost after this long, which is H2O's own heartbeat timeout: a shorter pause costs no data."""
FORMING_SECONDS = 300.0
BROKEN_SECONDS = 10.0


@dataclass(frozen=True)
class Member:
    """What a guard tells of its node. `together` are the tokens of the cloud that it started in."""

    pod: str
    token: str
    phase: Phase
    together: frozenset[str]
    address: str


@dataclass(frozen=True)
class Age:
    """Seconds: since the process was ordered, since it was last in a whole cloud, and since each peer answered."""

    ordered: float
    whole: float | None
    unseen: Mapping[str, float]


@dataclass(frozen=True)
class Decision:
    """What the node does now; `together` where it starts, `reason` where it leaves."""

    what: Literal["start", "leave", "stay"]
    together: frozenset[str] = frozenset()
    reason: str = ""


STAY = Decision("stay")


def decide(me: Member, peers: Mapping[str, Member | None], age: Age) -> Decision:
    """`peers` has all the expected others, None for one that does not answer now."""
    if me.phase == "waiting":
        return _waiting(me, peers)
    return _running(me, peers, age) if me.phase == "running" else STAY


def _waiting(me: Member, peers: Mapping[str, Member | None]) -> Decision:
    seen = [p for p in peers.values() if p is not None]
    if len(seen) < len(peers):
        return STAY
    together = frozenset({me.token, *(p.token for p in seen)})
    ready = all(p.phase == "waiting" or (p.phase == "running" and p.together == together) for p in seen)
    return Decision("start", together) if ready else STAY


def _running(me: Member, peers: Mapping[str, Member | None], age: Age) -> Decision:
    for name, peer in sorted(peers.items()):
        if peer is None and age.unseen.get(name, 0.0) > UNSEEN_SECONDS:
            return Decision("leave", reason=f"{name} has not answered for {age.unseen[name]:.0f} s")
        if peer is not None and peer.token not in me.together:
            return Decision("leave", reason=f"{name} is not the process that this cloud was formed with")
    if age.whole is None and age.ordered > FORMING_SECONDS:
        return Decision("leave", reason=f"no cloud of {len(me.together)} within {age.ordered:.0f} s")
    if age.whole is not None and age.whole > BROKEN_SECONDS:
        return Decision("leave", reason=f"the cloud has not been whole for {age.whole:.0f} s")
    return STAY
