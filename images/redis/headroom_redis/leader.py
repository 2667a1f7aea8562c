"""Who leads, in Sentinel mode: asked of the sentinels, never guessed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from headroom_redis.resp import SENTINEL_PORT, Connection, ReplyError, connect, info
from headroom_redis.settings import MASTER, Settings

FIRST = 0
"""The pod that leads a set which has never had a leader."""
PATIENCE_SECONDS = 6.0
"""How long a sentinel without a memory looks for one that has."""


@dataclass(frozen=True)
class Opinion:
    """What one sentinel says: the master's host, and the epoch of that decision. Later epochs are newer."""

    host: str
    epoch: int


def opinion(connection: Connection) -> Opinion:
    """What the sentinel behind a connection says."""
    flat = connection.call("SENTINEL", "MASTER", MASTER)
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return Opinion(fields["ip"], int(fields["config-epoch"]))


def decided(opinions: Sequence[Opinion], quorum: int) -> str | None:
    """The leader, once a quorum has answered. The latest decision counts: a sentinel that made it may not have told
    the others before all of them were restarted."""
    if len(opinions) < quorum:
        return None
    return max(opinions, key=lambda each: (each.epoch, each.host)).host


def ask(settings: Settings, hosts: Sequence[str], port: int = SENTINEL_PORT) -> list[Opinion]:
    """What the sentinels of these hosts say, of those that answer. All at once: some may not be there."""

    def one(host: str) -> Opinion | None:
        try:
            with connect(host, port, "admin", settings.password("admin"), 1.0) as connection:
                return opinion(connection)
        except (OSError, ReplyError, KeyError, ValueError):
            return None

    with ThreadPoolExecutor(max(1, len(hosts))) as pool:
        return [found for found in pool.map(one, hosts) if found is not None]


def await_decision(settings: Settings, say: Callable[[str], None]) -> str:
    """The leader's host, asked until a quorum of sentinels has answered."""
    told = -1
    while True:
        opinions = ask(settings, settings.sentinel_hosts)
        found = decided(opinions, settings.quorum)
        if found:
            return found
        if len(opinions) != told:
            told = len(opinions)
            say(f"{told} of {settings.sentinels} sentinels answer, {settings.quorum} are needed to know who leads")
        time.sleep(0.5)


def first_opinion(settings: Settings) -> str:
    """Whom a sentinel with an empty volume watches: the others' master, else (nobody remembers one) the first pod."""
    others = [host for host in settings.sentinel_hosts if host != settings.own_host]
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        found = decided(ask(settings, others), 1)
        if found:
            return found
        time.sleep(0.5)
    return settings.host(FIRST)


def others_hold_data(settings: Settings, pods: Sequence[str]) -> bool:
    """Whether another pod of the set has ever replicated or holds keys."""
    for host in pods:
        if host == settings.own_host:
            continue
        try:
            with settings.admin(host, seconds=1.0) as connection:
                if int(info(connection.call("INFO", "replication"))["master_repl_offset"]) > 0:
                    return True
                if int(connection.call("DBSIZE")) > 0:
                    return True
        except (OSError, ReplyError, KeyError, ValueError):
            continue
    return False
