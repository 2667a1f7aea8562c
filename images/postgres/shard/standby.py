"""Mends a standby that was away for longer than its primary keeps what it has missed: it is copied anew.

The primary keeps no more than `max_slot_wal_keep_size` for it, so that one that never comes back fills no volume. A
standby that needs what is gone would ask for it for ever. Its data is then older than anything the primary could still
give it, and Patroni copies the primary over it, if there is one.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

import psycopg

from shard import node, rest

log = logging.getLogger("standby")
EVERY_S = 20.0
LOOKS = 2
SEGMENT = 16 * 1024 * 1024
OLDEST = "SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
POSITION = "SELECT pg_is_in_recovery(), greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())"


class Stranded:
    """Looks now and then whether this pod's standby can still be fed; call `look` as often as is convenient."""

    def __init__(self, me: node.Node, clock: Callable[[], float] = time.monotonic) -> None:
        self._me, self._clock = me, clock
        self._next = clock() + EVERY_S
        self._at: str | None = None
        self._looks = 0

    def look(self, local: psycopg.Connection[Any], secret: Mapping[str, str]) -> None:
        """`local` is to this pod's PostgreSQL. Raises psycopg's errors of it; a primary that is away is no news."""
        if self._clock() < self._next:
            return
        self._next = self._clock() + EVERY_S
        row = local.execute(POSITION).fetchone()
        at = str(row[1]) if row and row[0] and row[1] else None
        still = at is not None and at == self._at
        self._at = at
        if not still or at is None:
            self._looks = 0
            return
        try:
            oldest = self._oldest(secret)
        except psycopg.Error as error:
            log.debug("the primary does not answer: %s", error)
            return
        self._looks = self._looks + 1 if oldest is not None and position(at) < oldest else 0
        if self._looks < LOOKS:
            return
        self._looks = 0
        log.warning("at %s, and the primary has nothing before %X any more: copied anew", at, oldest)
        try:
            member = rest.Member("127.0.0.1", node.rest_password(secret))
            member.reinitialize()
        except OSError as error:
            log.warning("Patroni does not copy it: %s", error)

    def _oldest(self, secret: Mapping[str, str]) -> int | None:
        with psycopg.connect(
            host=f"{self._me.scope}.{self._me.namespace}.svc",
            user="postgres",
            password=secret["postgresSuperuser"],
            dbname="postgres",
            sslmode="verify-full",
            sslrootcert=str(node.AUTHORITIES),
            channel_binding="require",
            connect_timeout=3,
            target_session_attrs="read-write",
            application_name="keeper",
        ) as primary:
            row = primary.execute(OLDEST).fetchone()
        return segment_start(row[0]) if row and row[0] else None


def position(lsn: str) -> int:
    """A place in the WAL as a number of bytes.

    >>> position("1/10")
    4294967312
    """
    high, low = lsn.split("/")
    return (int(high, 16) << 32) + int(low, 16)


def segment_start(name: str) -> int:
    """Where a segment begins, by the last 16 digits of its file's name.

    >>> segment_start("0000000100000002")
    4328521728
    """
    return (int(name[:8], 16) << 32) + int(name[8:], 16) * SEGMENT
