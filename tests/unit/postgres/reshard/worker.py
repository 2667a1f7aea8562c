"""A mover of its own process, which dies without a word at a point of a bucket (`die_at`) or is told to go there
(`leave_at`): `worker.py JSON`."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[4]
sys.path[:0] = [str(ROOT), str(ROOT / "images" / "postgres"), str(ROOT / "images" / "authority")]

from shard.reshard import mover  # type: ignore[import-not-found]  # noqa: E402
from shard.reshard.__main__ import leave_when_told  # type: ignore[import-not-found]  # noqa: E402
from shard.reshard.context import Context  # type: ignore[import-not-found]  # noqa: E402
from shard.reshard.lease import Lease  # type: ignore[import-not-found]  # noqa: E402
from shard.reshard.server import Server  # type: ignore[import-not-found]  # noqa: E402

given = json.loads(sys.argv[1])


def reached(point: str, _bucket: int) -> None:
    if point == given.get("die_at"):
        os.kill(os.getpid(), signal.SIGKILL)
    if point == given.get("leave_at"):
        os.kill(os.getpid(), signal.SIGTERM)


servers = {}
for number, port in enumerate(given["ports"]):
    address = {"host": "127.0.0.1", "port": port, "user": "postgres", "dbname": given["database"]}
    servers[number] = Server(number, address, {**address, "user": "replicator"})
context = Context(servers, given["holder"], reached=reached)
leave_when_told(context.fences)
print(mover.run(context, Lease(servers[0], given["holder"]), given["shards"], 1).moved)
