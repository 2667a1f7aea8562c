"""The lock that an update of a Pulumi stack holds, in a backend that is a folder or a bucket."""

from __future__ import annotations

import os
import re
import socket

_HOLDER = re.compile(r"created by \S*@(\S+) \(pid (\d+)\)")


def abandoned(said: str) -> bool:
    """Whether every lock that the CLI complains of belongs to a process of this machine that is gone."""
    holders = _HOLDER.findall(said)
    return bool(holders) and all(host == socket.gethostname() and not _alive(int(pid)) for host, pid in holders)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
