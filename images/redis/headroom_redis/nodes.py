"""What a Cluster's nodes know of each other: CLUSTER NODES, taken apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from headroom_redis.settings import ordinal_of

SLOTS = 16384


@dataclass(frozen=True)
class Node:
    """One line of CLUSTER NODES. `slots` are ranges, first and last; `opened` says that a slot is on its way."""

    id: str
    address: str
    port: int
    host: str
    flags: frozenset[str]
    master: str | None
    connected: bool
    slots: tuple[tuple[int, int], ...]
    opened: bool

    @property
    def is_master(self) -> bool:
        return "master" in self.flags

    @property
    def is_self(self) -> bool:
        return "myself" in self.flags

    @property
    def failed(self) -> bool:
        """Whether the one who tells thinks that it is gone."""
        return bool(self.flags & {"fail", "fail?", "noaddr", "handshake"})

    @property
    def count(self) -> int:
        """How many slots it serves."""
        return sum(last - first + 1 for first, last in self.slots)

    @property
    def ordinal(self) -> int | None:
        return ordinal_of(self.host)


def parse(text: str) -> list[Node]:
    """The lines of CLUSTER NODES (the same in nodes.conf, whose line `vars` is none)."""
    return [_node(line.split()) for line in text.splitlines() if line.strip() and not line.startswith("vars ")]


def _node(words: list[str]) -> Node:
    place, _, rest = words[1].partition(",")
    address, _, port = place.partition("@")[0].rpartition(":")
    return Node(
        id=words[0],
        address=address,
        port=int(port or 0),
        # Later versions add `,shard-id=…` after the host.
        host=rest.partition(",")[0],
        flags=frozenset(words[2].split(",")),
        master=None if words[3] == "-" else words[3],
        connected=words[7] == "connected",
        slots=tuple(_range(word) for word in words[8:] if not word.startswith("[")),
        opened=any(word.startswith("[") for word in words[8:]),
    )


def _range(word: str) -> tuple[int, int]:
    first, _, last = word.partition("-")
    return int(first), int(last or first)


def me(nodes: Iterable[Node]) -> Node:
    """The node that told it."""
    return next(node for node in nodes if node.is_self)


def shares(slots: int, masters: int) -> list[tuple[int, int]]:
    """Slots in as many equal ranges as there are masters, first and last of each.

    >>> shares(16384, 3)
    [(0, 5460), (5461, 10922), (10923, 16383)]
    """
    bounds = [round(n * slots / masters) for n in range(masters + 1)]
    return [(bounds[n], bounds[n + 1] - 1) for n in range(masters)]
