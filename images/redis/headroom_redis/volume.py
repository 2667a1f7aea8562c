"""One program a volume.

A pod that was deleted by force may still run when its successor starts. Two servers on one append-only file lose
what the older one still accepts, and two sentinels forget each other's votes.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from headroom_redis.process import say


def hold(folder: Path, name: str) -> int:
    """Wait until no other program holds this name, then hold it: the open file that has to stay open for that."""
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    told = False
    while True:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not told:
                say(f"the {name} of the pod before this one still has the volume: waiting until it has ended")
                told = True
            time.sleep(0.2)
        else:
            return held
