"""A mover in a process of its own, as its Job is: `python -m bench.reshard.working PORTS DATABASE SHARDS PARALLEL`."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.reshard.fleet import Fleet


def main(ports: str, database: str, shards: str, parallel: str) -> None:
    from shard.reshard import mover  # noqa: PLC0415  it is on the path since `fleet`
    from shard.reshard.context import Context  # noqa: PLC0415
    from shard.reshard.lease import Lease  # noqa: PLC0415

    fleet = Fleet(tuple(map(int, ports.split(","))), database, 0, Path())
    mover.run(Context(fleet.servers, "bench"), Lease(fleet.server(0), "bench"), int(shards), int(parallel))


if __name__ == "__main__":
    main(*sys.argv[1:])
