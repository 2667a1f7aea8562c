"""Starts redis-server, knowing first what it is to be; in a Cluster, finds its neighbours again at their new places."""

from __future__ import annotations

import time

from headroom_redis import files, leader, nodes, resp, volume
from headroom_redis.process import say, supervise
from headroom_redis.resp import ReplyError
from headroom_redis.rotation import Rotation
from headroom_redis.settings import Settings

TICK_SECONDS = 2.0


def run(settings: Settings) -> int:
    """Write the files, run the server, and while it lives keep its neighbours in sight and its passwords current."""
    held = volume.hold(settings.data, "server")
    rotation = Rotation(settings)
    files.write(settings.run / "users.acl", files.server_users(rotation.accepted))
    master = await_role(settings) if settings.mode == "sentinel" else None
    config = files.write(settings.run / "redis.conf", files.server(settings, master))

    def tick() -> None:
        if rotation.changed():
            files.write(settings.run / "users.acl", files.server_users(rotation.accepted))
            rotation.apply(resp.PORT, [("CONFIG", "SET", "masterauth", settings.password("admin"))])
        if settings.mode == "cluster":
            meet(settings)

    return supervise(["redis-server", str(config)], tick, TICK_SECONDS, [held])


def await_role(settings: Settings) -> str | None:
    """The host to follow, or None when this pod leads.

    A pod that is to lead and has lost its volume waits for the others to be chosen: they would copy its emptiness.
    """
    told = False
    while True:
        master = leader.await_decision(settings, say)
        if master != settings.own_host:
            say(f"{master} leads")
            return master
        mine = (settings.data / "appendonlydir").exists()
        if mine or not leader.others_hold_data(settings, [settings.host(n) for n in range(settings.pods)]):
            say("this pod leads")
            return None
        if not told:
            say("this pod is to lead, but its volume is empty and another's is not: waiting until another is chosen")
            told = True
        time.sleep(1)


def meet(settings: Settings) -> None:
    """Tell this node where those are that it knows and does not reach.

    The cluster bus knows addresses only, and after a restart of all pods every address that nodes.conf has is another
    pod's, or nobody's. So each lost neighbour is looked for by its name, and met only if the one who answers there
    has its id: an address that was given to a node of another cluster must not join the two.
    """
    with settings.admin("127.0.0.1") as own:
        for node in nodes.parse(own.call("CLUSTER", "NODES")):
            if node.is_self or (node.connected and not node.failed) or not node.host:
                continue
            try:
                with settings.admin(node.host, seconds=1.0) as other:
                    found = nodes.me(nodes.parse(other.call("CLUSTER", "NODES")))
            except (OSError, ReplyError):
                continue
            if found.id == node.id and found.address:
                own.call("CLUSTER", "MEET", found.address, found.port)
        _follow_to_new_place(own)


def _follow_to_new_place(own: resp.Connection) -> None:
    """Have a replica look for its master where that is now.

    A node that hears of its master's new address in gossip writes it into its table and goes on asking the old one.
    """
    table = nodes.parse(own.call("CLUSTER", "NODES"))
    master = next((node for node in table if node.id == nodes.me(table).master), None)
    if master is None or not master.connected or master.failed:
        return
    told = resp.info(own.call("INFO", "replication"))
    if told.get("master_link_status") != "up" and told.get("master_host") != master.address:
        own.call("CLUSTER", "REPLICATE", master.id)
