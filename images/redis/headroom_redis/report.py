"""What this pod knows, as JSON: for `headroom verify`, and for people."""

from __future__ import annotations

import json
from typing import Any

from headroom_redis import leader
from headroom_redis.nodes import SLOTS, parse
from headroom_redis.resp import SENTINEL_PORT, ReplyError, info
from headroom_redis.settings import MASTER, Settings

_INFO = (
    "role", "master_host", "master_link_status", "connected_slaves", "loading", "used_memory", "maxmemory",
    "redis_version", "aof_last_write_status",
)  # fmt: skip


def run(settings: Settings) -> int:
    """Print it. Parts that do not answer are there with their error."""
    print(json.dumps(_all(settings), sort_keys=True))
    return 0


def _all(settings: Settings) -> dict[str, Any]:
    found: dict[str, Any] = {"pod": settings.pod}
    try:
        with settings.admin("127.0.0.1") as own:
            told = info(own.call("INFO"))
            found |= {key: told.get(key) for key in _INFO}
            if settings.mode == "cluster":
                state = info(own.call("CLUSTER", "INFO"))
                known = parse(own.call("CLUSTER", "NODES"))
                found |= {
                    "cluster_state": state["cluster_state"],
                    "slots_ok": int(state["cluster_slots_ok"]),
                    "slots": SLOTS,
                    "masters": sum(node.count > 0 for node in known),
                    "nodes": len(known),
                    "failed": [node.host for node in known if node.failed],
                    "open_slots": any(node.opened for node in known),
                }
    except (OSError, ReplyError) as error:
        found["error"] = str(error)
    if settings.mode == "sentinel" and settings.ordinal < settings.sentinels:
        found["sentinel"] = _sentinel(settings)
    return found


def _sentinel(settings: Settings) -> dict[str, Any]:
    try:
        with settings.admin("127.0.0.1", SENTINEL_PORT) as own:
            said = leader.opinion(own)
            try:
                quorum = own.call("SENTINEL", "CKQUORUM", MASTER)
            except ReplyError as error:
                quorum = str(error)
            return {"master": said.host, "epoch": said.epoch, "quorum": quorum}
    except (OSError, ReplyError, KeyError) as error:
        return {"error": str(error)}
