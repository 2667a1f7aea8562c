"""A Cluster as it is now: every pod's own word about itself, and what can be asked of the whole."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from headroom_redis import nodes
from headroom_redis.nodes import SLOTS, Node
from headroom_redis.resp import ReplyError, info
from headroom_redis.settings import Settings

T = TypeVar("T")


class Refused(Exception):
    """What a resize must not do, or cannot: for the person who reads the Job's log."""


@dataclass(frozen=True)
class Member:
    """A pod of the set: its number, what it says of itself, and what it says of all."""

    ordinal: int
    node: Node
    table: tuple[Node, ...]

    @property
    def id(self) -> str:
        return self.node.id

    @property
    def owns(self) -> bool:
        """Whether it serves slots."""
        return self.node.is_master and self.node.count > 0

    @property
    def free(self) -> bool:
        """Whether it is a master of nothing."""
        return self.node.is_master and self.node.count == 0


def until(what: str, seconds: float, look: Callable[[], T | None]) -> T:
    """The first answer of `look` that is none of None and False. Raises Refused when time is up."""
    end = time.monotonic() + seconds
    problem = ""
    while True:
        try:
            found = look()
            if found is not None and found is not False:
                return found
        except (OSError, ReplyError) as error:
            problem = f": {error}"
        if time.monotonic() > end:
            raise Refused(f"{what}: not within {seconds:.0f} s{problem}")
        time.sleep(0.2)


class Cluster:
    """The pods 0 to `pods` - 1, and commands to each."""

    def __init__(self, settings: Settings, pods: int) -> None:
        self.settings = settings
        self.pods = pods

    def call(self, ordinal: int, *words: str | int) -> Any:
        """A command to a pod. Raises OSError, ReplyError."""
        with self.settings.admin(self.settings.host(ordinal), seconds=10.0) as connection:
            return connection.call(*words)

    def members(self) -> list[Member]:
        """All pods. Raises OSError or ReplyError when one does not answer."""
        found = []
        for ordinal in range(self.pods):
            table = nodes.parse(self.call(ordinal, "CLUSTER", "NODES"))
            found.append(Member(ordinal, nodes.me(table), tuple(table)))
        return found

    def await_members(self, seconds: float = 300) -> list[Member]:
        """All pods, once all of them answer and have loaded their data."""

        def look() -> list[Member] | None:
            loading = [n for n in range(self.pods) if info(self.call(n, "INFO", "persistence"))["loading"] != "0"]
            return None if loading else self.members()

        return until(f"answers of all {self.pods} pods", seconds, look)

    def keys(self, ordinal: int) -> int:
        """How many keys a pod holds."""
        return int(self.call(ordinal, "DBSIZE"))

    def settled(self, among: Callable[[Member], bool] = lambda _: True, seconds: float = 120) -> None:
        """Wait until the members agree on who serves what, every slot is served, none is on its way, and all of them
        say `cluster_state:ok`."""

        def look() -> bool:
            inside = [member for member in self.members() if among(member)]
            views = {served(member.table) for member in inside}
            states = [info(self.call(m.ordinal, "CLUSTER", "INFO"))["cluster_state"] for m in inside]
            opened = any(m.node.opened for m in inside)
            return len(views) == 1 and not missing(inside) and not opened and set(states) == {"ok"}

        until("a cluster that agrees, with all slots served and none on its way", seconds, look)

    def take_over(self, replica: Member) -> None:
        """Make a replica the master of its shard, without a lost write."""

        def look() -> bool:
            if nodes.me(nodes.parse(self.call(replica.ordinal, "CLUSTER", "NODES"))).is_master:
                return True
            self.call(replica.ordinal, "CLUSTER", "FAILOVER")
            time.sleep(1)
            return False

        until(f"pod {replica.ordinal} as master", 60, look)

    def follow(self, replica: int, master: Member) -> None:
        """Have a pod replicate a master, and wait until it holds all that it has."""
        until(
            f"pod {replica} following pod {master.ordinal}",
            60,
            lambda: self.call(replica, "CLUSTER", "REPLICATE", master.id) == "OK",
        )
        self.linked(replica)

    def linked(self, replica: int) -> None:
        """Wait until a replica has its master's data."""
        until(
            f"the data of its master on pod {replica}",
            600,
            lambda: info(self.call(replica, "INFO", "replication")).get("master_link_status") == "up",
        )


def served(table: Sequence[Node]) -> frozenset[tuple[str, tuple[tuple[int, int], ...]]]:
    """Who serves what, as one node sees it."""
    return frozenset((node.id, node.slots) for node in table if node.count)


def missing(members: Sequence[Member]) -> list[tuple[int, int]]:
    """Ranges of slots that none of the members serves."""
    taken = [False] * SLOTS
    for member in members:
        if member.node.is_master:
            for first, last in member.node.slots:
                taken[first : last + 1] = [True] * (last - first + 1)
    found: list[tuple[int, int]] = []
    for slot, is_taken in enumerate(taken):
        if is_taken:
            continue
        if found and found[-1][1] == slot - 1:
            found[-1] = (found[-1][0], slot)
        else:
            found.append((slot, slot))
    return found


def replicas_of(members: Sequence[Member], master: Member) -> list[Member]:
    """The members that follow a master."""
    return [member for member in members if member.node.master == master.id]
