"""Runs a sentinel with what it remembers, and keeps the label that `redis-master` selects on the pod that leads."""

from __future__ import annotations

import time

from headroom_redis import files, kube, leader, volume
from headroom_redis.process import say, supervise
from headroom_redis.resp import SENTINEL_PORT
from headroom_redis.rotation import Rotation
from headroom_redis.settings import MASTER, Settings

LABEL = "headroom.dev/role"
AGAIN_SECONDS = 10.0


def run(settings: Settings) -> int:
    """Start the sentinel (none in pods beyond the voters) and label until it ends."""
    keeper = Keeper(settings)
    if settings.ordinal >= settings.sentinels:
        return supervise(["sleep", "infinity"], keeper.tick, 1.0)
    state = settings.data / "sentinel" / "sentinel.conf"
    held = volume.hold(state.parent, "sentinel")
    text = state.read_text(encoding="utf-8") if state.exists() else ""
    master, kept = files.remembered(text)
    if master is None:
        master = leader.first_opinion(settings)
        say(f"no memory of a master: watching {master}")
    rotation = Rotation(settings)
    acl = settings.run / "sentinel.acl"
    files.write(acl, files.sentinel_users(rotation.accepted))
    # On the volume, for the sentinel rewrites it: what it has voted must outlive the pod.
    files.write(state, files.sentinel(settings, master, kept))

    def tick() -> None:
        if rotation.changed():
            files.write(acl, files.sentinel_users(rotation.accepted))
            password = settings.password("admin")
            rotation.apply(
                SENTINEL_PORT,
                [
                    ("SENTINEL", "SET", MASTER, "auth-pass", password),
                    ("SENTINEL", "CONFIG", "SET", "sentinel-pass", password),
                ],
                ["admin"],
            )
        keeper.tick()

    return supervise(["redis-server", str(state), "--sentinel"], tick, 1.0, [held])


class Keeper:
    """Labels pods `master` and `replica`.

    The new master's keeper takes the label off the others: one that is cut off cannot take it off itself.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._role = ""
        self._since = 0.0

    def tick(self) -> None:
        """Look, and label what changed; all of it again now and then, for pods that are new."""
        settings = self._settings
        hosts = ["127.0.0.1"] if settings.ordinal < settings.sentinels else settings.sentinel_hosts
        opinions = leader.ask(settings, hosts, SENTINEL_PORT)
        if not opinions:
            return
        chosen = max(opinions, key=lambda each: each.epoch).host
        role = "replica"
        if chosen == settings.own_host:
            with settings.admin("127.0.0.1") as own:
                if own.call("ROLE")[0] != "master":
                    return
            role = "master"
        if role == self._role and time.monotonic() - self._since < AGAIN_SECONDS:
            return
        if role == "master":
            for n in range(settings.pods):
                if n != settings.ordinal:
                    kube.label(settings.namespace, f"{settings.workload}-{n}", LABEL, "replica")
        kube.label(settings.namespace, settings.pod, LABEL, role)
        self._role, self._since = role, time.monotonic()
