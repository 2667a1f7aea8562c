"""Runs the exporter with a password that goes to this pod's own server and nowhere else.

Its page `/scrape?target=` logs in wherever the caller says, with the password of its flag or its environment. From a
file of passwords by address it takes that of exactly the address asked for, and has none for any other.
"""

from __future__ import annotations

import json
import urllib.request

from headroom_redis import files
from headroom_redis.process import supervise
from headroom_redis.resp import PORT
from headroom_redis.settings import Settings

SERVER = f"redis://127.0.0.1:{PORT}"
METRICS_PORT = 9121
TICK_SECONDS = 10.0


def run(settings: Settings) -> int:
    """Write the file, run the exporter, and have it read the file again when the password changes."""
    bound = settings.run / "exporter.json"
    held = ""

    def bind() -> bool:
        nonlocal held
        now = settings.password("monitor")
        if now == held:
            return False
        files.write(bound, json.dumps({SERVER: now}))
        held = now
        return True

    def tick() -> None:
        nonlocal held
        if not bind():
            return
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{METRICS_PORT}/-/reload", timeout=5).close()
        except OSError:
            held = ""  # again at the next tick
            raise

    bind()
    flags = [f"-redis.addr={SERVER}", "-redis.user=monitor", f"-redis.password-file={bound}"]
    return supervise(["prometheus-redis-exporter", *flags], tick, TICK_SECONDS)
