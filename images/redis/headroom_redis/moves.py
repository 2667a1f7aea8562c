"""Slots on their way from node to node: begun with a record, so that a move that was cut off is known for ours."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from headroom_redis import kube
from headroom_redis.process import say
from headroom_redis.resp import PORT
from headroom_redis.settings import Settings
from headroom_redis.topology import Cluster, Member, Refused, missing

RECORD = "redis-resize"
MOVING = "moving"
PIPELINE = 100
"""Keys that one MIGRATE takes along: ten times redis-cli's own number; a batch stops its two nodes for a moment."""


def mend(settings: Settings, cluster: Cluster, members: Sequence[Member]) -> bool:
    """Finish a move of ours that was cut off; whether there was one. Slots that somebody else has opened are left to
    them: `--cluster fix` guesses whose a slot is."""
    recorded = kube.read_record(settings.namespace, RECORD).get(MOVING)
    opened = [member.ordinal for member in members if member.node.opened]
    if not opened and not recorded:
        return False
    if opened and not recorded:
        raise Refused(
            f"pods {opened} have slots on their way, and no resize of ours began it; finish or undo that first, "
            "then this Job goes on (redis-cli --cluster check shows the slots)"
        )
    if opened:
        lost = missing(members)
        if lost:
            raise Refused(f"slots {lost} are served by nobody: a master is lost; bring it back first")
        say(f"a move was cut off ({recorded}): mending pods {opened}")
        _redis_cli(settings, members, "fix")
    owning = {member.id for member in members if member.owns}
    cluster.settled(lambda member: member.id in owning or member.node.master in owning)
    return True


def rebalance(settings: Settings, cluster: Cluster, members: Sequence[Member], emptied: Sequence[Member]) -> None:
    """Spread all slots evenly over the masters, the empty ones included; `emptied` get none and lose theirs."""
    begun = f"by {settings.pod}"
    kube.write_record(settings.namespace, RECORD, {MOVING: begun})
    if emptied:
        weights = ["--cluster-weight", *(f"{member.id}=0" for member in emptied)]
    else:
        weights = ["--cluster-use-empty-masters"]
    _redis_cli(settings, members, "rebalance", *weights, "--cluster-pipeline", str(PIPELINE))
    cluster.settled(lambda member: bool(member.table[1:]))
    done(settings)


def done(settings: Settings) -> None:
    """Nothing of ours is on its way any more."""
    kube.write_record(settings.namespace, RECORD, {MOVING: None})


def _redis_cli(settings: Settings, members: Sequence[Member], command: str, *options: str) -> None:
    seed = next(member for member in members if member.owns)
    password = {"REDISCLI_AUTH": settings.password("admin")}
    place = f"{seed.node.address}:{seed.node.port or PORT}"
    done = subprocess.run(
        ["redis-cli", "--user", "admin", "--cluster", command, place, *options, "--cluster-yes"],
        env={**os.environ, **password},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    lines = [line for line in done.stdout.splitlines() if line.strip("#. ") and not line.startswith("Moving slot")]
    for line in lines[-20:]:
        say(line)
    if done.returncode:
        raise Refused(f"redis-cli --cluster {command} ended with {done.returncode}")
