"""The Jobs around a change of a Cluster's size: `drain` before there are fewer pods, `fill` after there are more.

Both read the live state, do the next thing that is missing, and do nothing when nothing is: cut off at any point and
run again, they go on.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

from headroom_redis import kube, moves
from headroom_redis.nodes import SLOTS, shares
from headroom_redis.process import say
from headroom_redis.resp import ReplyError, info
from headroom_redis.settings import Settings
from headroom_redis.topology import Cluster, Member, Refused, missing, replicas_of, until


def drain(settings: Settings) -> int:
    """Empty the pods that will go, and take them out of the cluster."""
    return _told(lambda: _drain(settings))


def fill(settings: Settings) -> int:
    """Take pods that are outside into the cluster (the first time: make it), give each its role and its slots."""
    return _told(lambda: _fill(settings))


def _told(work: Callable[[], None]) -> int:
    try:
        work()
    except Refused as error:
        say(str(error))
        return 1
    except (OSError, ReplyError, kube.ApiError) as error:
        say(f"stopped: {error}")
        return 1
    return 0


# drain


def _drain(settings: Settings) -> None:
    now = kube.replicas(settings.namespace, settings.workload)
    if now is None or now <= settings.pods:
        say(f"nothing to drain: {now or 0} pods now, {settings.pods} wanted")
        return
    cluster = Cluster(settings, now)
    members = cluster.await_members()
    if not any(member.owns for member in members):
        say("nothing to drain: no pod serves slots")
        return
    moves.mend(settings, cluster, members)
    members = cluster.members()
    masters = [member for member in members if member.owns]
    if len(masters) > settings.masters:
        _check_memory(cluster, masters, settings.masters)
    kept = chosen(members, settings.pods, settings.masters)
    for shard in kept:
        _bring_home(cluster, shard, settings.pods)
    members = cluster.members()
    leaving = [m for m in members if m.owns and m.ordinal >= settings.pods]
    surplus = _surplus(members, kept, settings.pods)
    if surplus:
        cluster.settled(_inside)
        say(f"moving the slots of pods {[m.ordinal for m in surplus]} to the others")
        moves.rebalance(settings, cluster, members, surplus)
    elif leaving:
        raise Refused(f"pods {[m.ordinal for m in leaving]} still serve slots and are not to")
    moves.done(settings)
    _give_followers(settings, cluster)
    for ordinal in range(settings.pods, now):
        _expel(cluster, ordinal)
    cluster.settled(lambda member: member.ordinal < settings.pods)
    say(f"pods {settings.pods} to {now - 1} are empty and out of the cluster")


def chosen(members: Sequence[Member], pods: int, masters: int) -> list[Member]:
    """The masters whose shards are kept: first those on pods that stay, then those with a replica on one."""

    def order(master: Member) -> tuple[bool, bool, int]:
        home = any(replica.ordinal < pods for replica in replicas_of(members, master))
        return (master.ordinal >= pods, not home, master.ordinal)

    return sorted((member for member in members if member.owns), key=order)[:masters]


def _bring_home(cluster: Cluster, master: Member, pods: int) -> None:
    """Have a shard that is kept led by a pod that stays."""
    if master.ordinal < pods:
        return
    members = cluster.members()
    home = [replica for replica in replicas_of(members, master) if replica.ordinal < pods]
    if not home:
        helper = _spare(members, pods)
        say(f"pod {helper.ordinal} takes over from pod {master.ordinal}")
        cluster.follow(helper.ordinal, master)
        home = [helper]
    cluster.linked(home[0].ordinal)
    cluster.take_over(home[0])


def _spare(members: Sequence[Member], pods: int) -> Member:
    """A replica that stays and that its shard can do without."""
    staying = [m for m in members if m.ordinal < pods]
    free = [m for m in staying if m.free]
    crowded = [
        m
        for m in staying
        if m.node.master and sum(m.node.master in (other.id, other.node.master) for other in staying) > 1
    ]
    found = [*free, *crowded]
    if not found:
        raise Refused("no pod that stays can take a shard over; grow first")
    return found[0]


def _surplus(members: Sequence[Member], kept: Sequence[Member], pods: int) -> list[Member]:
    """The masters that are to lose all their slots. A kept shard may be led by another pod than when it was chosen."""
    homes = {m.id for m in kept if m.ordinal < pods}
    homes |= {m.id for m in members if m.owns and m.ordinal < pods and m.id not in homes and _took_over(m, kept)}
    return [m for m in members if m.owns and m.id not in homes]


def _took_over(member: Member, kept: Sequence[Member]) -> bool:
    return any(member.node.slots == old.node.slots for old in kept)


def _check_memory(cluster: Cluster, masters: Sequence[Member], fewer: int) -> None:
    limit = int(cluster.call(masters[0].ordinal, "CONFIG", "GET", "maxmemory")[1])
    held = sum(int(info(cluster.call(m.ordinal, "INFO", "memory"))["used_memory_dataset"]) for m in masters)
    if limit and held > fewer * limit * 0.95:
        raise Refused(
            f"{len(masters)} masters hold {held >> 20} MiB, and {fewer} of {limit >> 20} MiB would not: "
            "delete data, or keep more masters"
        )


def _give_followers(settings: Settings, cluster: Cluster) -> None:
    """Pods that stay and lead nothing any more follow the master with the fewest followers that stay."""
    while True:
        members = cluster.members()
        staying = [m for m in members if m.ordinal < settings.pods]
        masters = [m for m in staying if m.owns]
        owning = {m.id for m in masters}
        loose = [m for m in staying if m.free or (m.node.master and m.node.master not in owning)]
        if not loose:
            return
        poorest = min(masters, key=lambda m: (len(replicas_of(staying, m)), m.ordinal))
        say(f"pod {loose[0].ordinal} follows pod {poorest.ordinal}")
        cluster.follow(loose[0].ordinal, poorest)


def _expel(cluster: Cluster, ordinal: int) -> None:
    """Have all others forget a pod, then the pod them. One that serves slots is never expelled."""
    members = cluster.members()
    member = next(m for m in members if m.ordinal == ordinal)
    if member.owns or (member.node.is_master and cluster.keys(ordinal)):
        raise Refused(f"pod {ordinal} still holds slots or keys")
    for other in members:
        # One that follows it cannot forget it, and is on its own way out.
        knows = other is not member and any(node.id == member.id for node in other.table)
        if knows and other.node.master != member.id:
            with contextlib.suppress(ReplyError):  # it has forgotten it meanwhile
                cluster.call(other.ordinal, "CLUSTER", "FORGET", member.id)
    if len(member.table) > 1:
        cluster.call(ordinal, "CLUSTER", "RESET", "HARD")


# fill


def _fill(settings: Settings) -> None:
    cluster = Cluster(settings, settings.pods)
    members = cluster.await_members()
    again = any(m.owns for m in members) and moves.mend(settings, cluster, members)
    _join(cluster)
    members = cluster.members()
    owners = [m for m in members if m.owns]
    if len(owners) > settings.masters:
        raise Refused(f"{len(owners)} masters serve slots and {settings.masters} are wanted: the drain did not run")
    free = [m for m in members if m.free]
    short = settings.masters - len(owners) - len(free)
    if short > 0:
        _free_replicas(cluster, members, short)
        _join(cluster)
        members = cluster.members()
        owners, free = [m for m in members if m.owns], [m for m in members if m.free]
    new = free[: settings.masters - len(owners)]
    _first_slots(cluster, members, sorted([*owners, *new], key=lambda m: m.ordinal))
    _follow_all(cluster, {m.id for m in [*owners, *new]})
    members = cluster.members()
    if again or any(not m.owns and m.id in {n.id for n in new} for m in members):
        cluster.settled()
        say(f"spreading the slots over {settings.masters} masters")
        moves.rebalance(settings, cluster, members, [])
    cluster.settled()
    moves.done(settings)
    say(f"{settings.masters} masters serve all {SLOTS} slots, on {settings.pods} pods")


def _inside(member: Member) -> bool:
    return len(member.table) > 1


def _join(cluster: Cluster) -> None:
    """Have every pod know every other."""
    members = cluster.members()
    base = next((m for m in members if m.owns), members[0])
    known = {node.id for node in base.table}
    outside = [m for m in members if m.id not in known]
    for member in outside:
        if cluster.keys(member.ordinal) or member.owns:
            raise Refused(
                f"pod {member.ordinal} is outside the cluster and holds keys of its own; "
                "if they may go: FLUSHALL and CLUSTER RESET HARD there, then this Job goes on"
            )
        say(f"pod {member.ordinal} joins")
        if len(member.table) == 1 and info(cluster.call(member.ordinal, "CLUSTER", "INFO"))["cluster_my_epoch"] == "0":
            with contextlib.suppress(ReplyError):  # it has an epoch already
                cluster.call(member.ordinal, "CLUSTER", "SET-CONFIG-EPOCH", member.ordinal + 1)

    def look() -> bool:
        now = cluster.members()
        ids = {m.id for m in now}
        seen = {m.ordinal: {n.id for n in m.table if n.connected and not n.failed} for m in now}
        for member in now:
            if member.id not in seen[base.ordinal]:
                cluster.call(base.ordinal, "CLUSTER", "MEET", member.node.address, member.node.port)
        return all(ids <= known for known in seen.values())

    until("all pods knowing each other", 120, look)


def _free_replicas(cluster: Cluster, members: Sequence[Member], count: int) -> None:
    """Take replicas out of the shards with the most of them, to be masters."""
    left = [m for m in members if m.node.master]
    for _ in range(count):
        crowd = {m.id: sum(o.node.master == m.node.master for o in left) for m in left}
        taken = max(left, key=lambda m: (crowd[m.id], m.ordinal))
        left.remove(taken)
        say(f"pod {taken.ordinal} stops following")
        cluster.call(taken.ordinal, "CLUSTER", "RESET", "SOFT")


def _first_slots(cluster: Cluster, members: Sequence[Member], masters: Sequence[Member]) -> None:
    """Give out the slots of a new cluster. Slots that are missing where there are keys were lost, and are not ours to
    give away."""
    gaps = missing(members)
    if not gaps:
        return
    if any(cluster.keys(m.ordinal) for m in members):
        raise Refused(f"slots {gaps} are served by nobody, and other slots hold keys: a master is lost; bring it back")
    for (low, high), master in zip(shares(SLOTS, len(masters)), masters, strict=True):
        for first, last in gaps:
            if first <= high and last >= low:
                cluster.call(master.ordinal, "CLUSTER", "ADDSLOTSRANGE", max(first, low), min(last, high))


def _follow_all(cluster: Cluster, masters: set[str]) -> None:
    """Every pod that is no master follows the one with the fewest followers; crowded masters give to poor ones."""
    while True:
        members = cluster.members()
        leaders = [m for m in members if m.id in masters]
        followers = {m.id: replicas_of(members, m) for m in leaders}
        poorest = min(leaders, key=lambda m: (len(followers[m.id]), m.ordinal))
        richest = max(leaders, key=lambda m: len(followers[m.id]))
        loose = [m for m in members if m.id not in masters and m.node.master not in masters]
        if not loose and len(followers[richest.id]) - len(followers[poorest.id]) > 1:
            loose = followers[richest.id][-1:]
        if not loose:
            break
        say(f"pod {loose[0].ordinal} follows pod {poorest.ordinal}")
        cluster.follow(loose[0].ordinal, poorest)
    for member in members:
        if member.node.master:
            cluster.linked(member.ordinal)
