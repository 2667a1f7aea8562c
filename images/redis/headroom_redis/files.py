"""The files that redis-server and redis-sentinel read: users, configuration. Only their owner can read them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from headroom_redis.settings import MASTER, Settings

DOWN_AFTER_MS = 5000
FAILOVER_TIMEOUT_MS = 15000
NODE_TIMEOUT_MS = 3500
"""In a Cluster. Nodes ask each other every half of it, so a hang is noticed after one to one and a half times this, and
a replica is elected about a second and a half later."""
MAX_LAG_SECONDS = 5
"""A master whose replicas have been silent for so long refuses writes: what two masters can both accept at most."""

# What the services may not do: administer, or stop the server for everybody (KEYS, FLUSHALL, SORT, scripts …). No
# channels: who may publish to the sentinels' own can make them follow a master of his, and gets the admin's password.
_APP = (
    "~* resetchannels +@all -@admin -@dangerous -@scripting +info +readonly +readwrite +asking "
    "+cluster|slots +cluster|shards +cluster|nodes +cluster|info +cluster|keyslot +cluster|myid"
)
# No CONFIG GET: it shows masterauth.
_MONITOR = (
    "resetkeys resetchannels -@all +ping +info +dbsize +role +select +client|setname +client|list +latency|latest "
    "+latency|histogram +slowlog|len +slowlog|get +memory|usage +cluster|info +cluster|nodes +cluster|slots"
)
# Whom clients ask for the master before they log in anywhere.
_ANYONE = (
    "on nopass resetkeys resetchannels &* -@all +ping +hello +auth +client|setname +info +role +subscribe +psubscribe "
    "+sentinel|get-master-addr-by-name +sentinel|masters +sentinel|master +sentinel|replicas +sentinel|slaves "
    "+sentinel|sentinels +sentinel|ckquorum +sentinel|myid"
)


Passwords = Mapping[str, Sequence[str]]
"""The passwords that a user may log in with: after a rotation for a while two."""


def write(path: Path, text: str) -> Path:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    beside.replace(path)
    return path


def server_users(passwords: Passwords) -> str:
    """The ACL file of the data nodes: hashes, not passwords. `default`, whom everybody is before a login, is off."""
    lines = [
        "user default off resetpass -@all",
        f"user app on {_hashes(passwords['app'])} {_APP}",
        f"user admin on {_hashes(passwords['admin'])} ~* &* +@all",
        f"user monitor on {_hashes(passwords['monitor'])} {_MONITOR}",
    ]
    return "\n".join(lines) + "\n"


def sentinel_users(passwords: Passwords) -> str:
    """The ACL file of a sentinel: anyone may ask who leads, the administrator alone may change it."""
    return f"user default {_ANYONE}\nuser admin on {_hashes(passwords['admin'])} ~* &* +@all\n"


def server(settings: Settings, master: str | None) -> str:
    """redis.conf. `master` is the host that a replica follows; None for a master, and in a Cluster."""
    backlog = max(1 << 20, settings.maxmemory // 16)
    lines = [
        "bind * -::*",
        "protected-mode no",
        "port 6379",
        f"dir {settings.data}",
        'save ""',
        "appendonly yes",
        "appendfsync everysec",
        f"maxmemory {settings.maxmemory}",
        f"maxmemory-policy {settings.policy}",
        f"aclfile {settings.run / 'users.acl'}",
        "masteruser admin",
        f"masterauth {_quoted(settings.password('admin'))}",
        f"repl-backlog-size {backlog}",
        "repl-diskless-sync-delay 0",
        "repl-timeout 15",
        "repl-ping-replica-period 3",
        f"min-replicas-to-write {settings.min_replicas}",
        f"min-replicas-max-lag {MAX_LAG_SECONDS}",
        "shutdown-timeout 5",
    ]
    if settings.mode == "cluster":
        lines += [
            "cluster-enabled yes",
            f"cluster-config-file {settings.data / 'nodes.conf'}",
            f"cluster-node-timeout {NODE_TIMEOUT_MS}",
            f"cluster-announce-ip {settings.address}",
            f"cluster-announce-hostname {settings.own_host}",
            "cluster-preferred-endpoint-type hostname",
            # Slots that are lost must not stop the others.
            "cluster-require-full-coverage no",
            # Who follows whom is the resize Jobs' business; a node that changes it by itself would surprise them.
            "cluster-allow-replica-migration no",
        ]
    else:
        lines += [f"replica-announce-ip {settings.own_host}"]
        lines += [f"replicaof {master} 6379"] if master else []
    return "\n".join(lines) + "\n"


def sentinel_id(settings: Settings) -> str:
    """A sentinel's id: the same for a pod for ever, so that one with an empty volume is not a fourth voter."""
    return hashlib.sha1(settings.own_host.encode(), usedforsecurity=False).hexdigest()


def sentinel(settings: Settings, master: str, remembered: list[str]) -> str:
    """sentinel.conf. `remembered` are the lines that a sentinel wrote of epochs and neighbours."""
    lines = [
        "port 26379",
        "protected-mode no",
        f"dir {settings.run}",
        f"aclfile {settings.run / 'sentinel.acl'}",
        "sentinel resolve-hostnames yes",
        "sentinel announce-hostnames yes",
        f"sentinel announce-ip {settings.own_host}",
        f"sentinel myid {sentinel_id(settings)}",
        "sentinel deny-scripts-reconfig yes",
        f"sentinel monitor {MASTER} {master} 6379 {settings.quorum}",
        f"sentinel down-after-milliseconds {MASTER} {DOWN_AFTER_MS}",
        f"sentinel failover-timeout {MASTER} {FAILOVER_TIMEOUT_MS}",
        f"sentinel parallel-syncs {MASTER} 1",
        f"sentinel auth-user {MASTER} admin",
        f"sentinel auth-pass {MASTER} {_quoted(settings.password('admin'))}",
        "sentinel sentinel-user admin",
        f"sentinel sentinel-pass {_quoted(settings.password('admin'))}",
        *remembered,
    ]
    return "\n".join(lines) + "\n"


def remembered(text: str) -> tuple[str | None, list[str]]:
    """Of a sentinel.conf as a sentinel rewrote it: the master it watched, and what it knew of epochs and others."""
    master, kept = None, []
    for line in text.splitlines():
        words = line.split()
        if words[:2] == ["sentinel", "monitor"] and len(words) == 6:
            master = words[3].strip('"')
        elif words[:1] == ["sentinel"] and len(words) > 2 and words[1] in _KEPT:
            kept.append(line)
    return master, kept


_KEPT = {"config-epoch", "leader-epoch", "current-epoch", "known-replica", "known-sentinel"}


def _hashes(passwords: Sequence[str]) -> str:
    return " ".join(f"#{hashed(password)}" for password in passwords)


def hashed(password: str) -> str:
    """A password as ACL files have it."""
    return hashlib.sha256(password.encode()).hexdigest()


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
