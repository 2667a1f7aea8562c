"""Gives PgBouncer its configuration, reloads it when that changes, and tells it when a shard's primary moves.

Its console trusts its own user on the socket, so no password is needed to talk to it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Iterable

import authority
import psycopg2

from pooler.files import PUBLISHED, RUN, inputs, publish
from pooler.primaries import Primaries

log = logging.getLogger("warden")
EVERY_S = 1.0
# kube-proxy may still lead to the former primary for a moment, so what was opened in it is let go once more.
AGAIN_S = (0.0, 0.7, 2.5)


def main() -> None:
    """Runs until SIGTERM."""
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    trust = authority.Trust(RUN)
    held = inputs(trust)
    publish(held)
    (RUN / "ready").touch()
    primaries = Primaries(moved)
    threading.Thread(target=primaries.watch, daemon=True).start()
    while True:
        time.sleep(EVERY_S)
        with contextlib.suppress(OSError):  # a volume in the middle of its update
            now = inputs(trust, primaries.shards)
            if now != held:
                publish(now)
                if console("RELOAD"):
                    held = now
                    log.info("configuration changed: reloaded")
        (RUN / "ready").touch()


def moved(shard: int) -> None:
    """The primary of a shard is another pod: connections to the former one are let go, as soon as they are free."""
    threading.Thread(target=_reconnect, args=(databases(shard, (RUN / PUBLISHED).read_text()),), daemon=True).start()


def databases(shard: int, config: str) -> list[str]:
    """The databases that lead to a shard."""
    return re.findall(rf"(?m)^(\w+) = host=pg-shard-{shard}\.", config)


def _reconnect(names: Iterable[str]) -> None:
    waited = 0.0
    for after in AGAIN_S:
        time.sleep(after - waited)
        waited = after
        for name in names:
            if console(f"RECONNECT {name}"):
                log.info("its primary moved: %s reconnects", name)


def console(command: str) -> bool:
    """A command of PgBouncer's console; False where it does not answer."""
    try:
        connection = psycopg2.connect(host=str(RUN), port=6432, user="pgbouncer", dbname="pgbouncer", connect_timeout=2)
    except psycopg2.Error as error:
        log.info("PgBouncer does not answer: %s", str(error).strip())
        return False
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(command)
    except psycopg2.Error as error:
        log.warning("%s: %s", command, str(error).strip())
        return False
    finally:
        connection.close()
    return True


if __name__ == "__main__":
    main()
