"""A master's way out: another is made master first, so that nobody waits for a failure to be noticed."""

from __future__ import annotations

import time

from headroom_redis import nodes
from headroom_redis.leader import opinion
from headroom_redis.process import say
from headroom_redis.resp import PORT, SENTINEL_PORT, Connection, ReplyError
from headroom_redis.settings import MASTER, Settings

PATIENCE_SECONDS = 12.0
EQUAL_SECONDS = 3.0
PAUSE_MS = 20_000


def run(settings: Settings) -> int:
    """Hand the role over where this pod has it. Never fails: the pod goes either way."""
    try:
        with settings.admin("127.0.0.1") as own:
            if own.call("ROLE")[0] != "master":
                return 0
            if settings.mode == "cluster":
                _hand_over_slots(settings, own)
            else:
                _hand_over(settings, own)
    except (OSError, ReplyError) as error:
        say(f"leaving as it is: {error}")
    return 0


def _hand_over(settings: Settings, own: Connection) -> None:
    if not own.call("ROLE")[2]:
        say("no replica to hand over to")
        return
    # Nothing is acknowledged from here on that the next master may not have.
    own.call("CLIENT", "PAUSE", PAUSE_MS, "WRITE")
    try:
        _await_equal(own)
        master = _failed_over(settings)
        # By hand: the sentinels' own greetings wait behind the pause, and so does what they would say of this.
        own.call("REPLICAOF", master, PORT)
    finally:
        # The writes that waited find a replica, and their clients the new master.
        own.call("CLIENT", "UNPAUSE")


def _await_equal(own: Connection) -> None:
    """Wait until all replicas have everything."""
    end = time.monotonic() + EQUAL_SECONDS
    while time.monotonic() < end:
        _, offset, replicas = own.call("ROLE")
        if all(int(seen) >= int(offset) for _, _, seen in replicas):
            return
        time.sleep(0.05)


def _failed_over(settings: Settings) -> str:
    """Have the sentinels choose another; its host. One of another pod is asked first."""
    others = [host for host in settings.sentinel_hosts if host != settings.own_host]
    problem: Exception = OSError("no sentinel answers")
    for host in [*others, settings.own_host]:
        try:
            with settings.admin(host, SENTINEL_PORT) as sentinel:
                try:
                    sentinel.call("SENTINEL", "FAILOVER", MASTER)
                except ReplyError as error:
                    if "INPROG" not in str(error):
                        raise
                end = time.monotonic() + PATIENCE_SECONDS
                while time.monotonic() < end:
                    chosen = opinion(sentinel).host
                    if chosen != settings.own_host:
                        return chosen
                    time.sleep(0.1)
                problem = OSError(f"still the master after {PATIENCE_SECONDS:.0f} s")
        except (OSError, ReplyError) as error:
            problem = error
    raise problem


def _hand_over_slots(settings: Settings, own: Connection) -> None:
    known = nodes.parse(own.call("CLUSTER", "NODES"))
    mine = nodes.me(known)
    replicas = [n for n in known if n.master == mine.id and n.connected and not n.failed]
    if not mine.count or not replicas:
        return
    for replica in replicas:
        try:
            with settings.admin(replica.address, replica.port) as other:
                other.call("CLUSTER", "FAILOVER")
            _await_replica(own)
        except (OSError, ReplyError) as error:
            say(f"{replica.host} does not take over: {error}")
            continue
        return


def _await_replica(own: Connection) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        if own.call("ROLE")[0] == "slave":
            return
        time.sleep(0.1)
    raise OSError(f"still the master after {PATIENCE_SECONDS:.0f} s")
