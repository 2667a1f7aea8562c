"""Ports of loopback for servers of benchmarks and tests."""

from __future__ import annotations

import random
import socket

# Below the ports that systems give to outgoing connections, so that none of them takes one between its choice and its
# use. A Redis Cluster node also listens 10,000 above its own.
FIRST, LAST = 12_000, 21_999


def free_port() -> int:
    """A TCP port on 127.0.0.1 that nobody listens on."""
    while True:
        port = random.randint(FIRST, LAST)  # noqa: S311
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) != 0:
                return port
