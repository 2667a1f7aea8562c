"""One mover at a time.

The lock is an advisory lock of a session on shard 0, so it ends with its holder. A holder that was cut off may still
have sessions elsewhere: whoever takes over writes its name into every shard first, and then ends the sessions of
others. A session that opens later reads the name and gives up; one that was open is gone.
"""

from __future__ import annotations

import time
from collections.abc import Iterable

import psycopg

from shard.reshard.server import NAME, Server, Session, Superseded

KEY = 0x7265736861726400  # "reshard"
_OTHERS = (
    "SELECT pid, pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name LIKE %s AND application_name <> %s AND pid <> pg_backend_pid()"
)
PATIENCE_S = 10.0
RETRY_S = 0.2
LOCK_WAIT_S = 60.0
"""A mover that was told to go needs a moment, and so does PostgreSQL to see that one was killed."""


class Lease:
    """Held from `take` to `give_up`. `wait_s`: how long `take` waits for another mover to end, in seconds."""

    def __init__(self, lead: Server, holder: str, wait_s: float = LOCK_WAIT_S) -> None:
        self._lead, self.holder, self._wait_s = lead, holder, wait_s
        self._connection: psycopg.Connection[object] | None = None

    def take(self, servers: Iterable[Server]) -> None:
        """Become the one mover of these shards. A shard without a primary is waited for: what the mover before left may
        keep writes waiting, and another try of the Job comes later. Raises Superseded where another one goes on
        working, psycopg.OperationalError."""
        self._lock(self._wait_s)
        deadline = time.monotonic() + self._wait_s
        for server in servers:
            while True:
                try:
                    self._claim(server)
                    break
                except psycopg.OperationalError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(RETRY_S)

    def renew(self) -> None:
        """Have it still, or again after shard 0 had another primary. Raises Superseded, psycopg.OperationalError."""
        if self._connection is not None:
            try:
                self._connection.execute("SELECT 1")
            except psycopg.OperationalError:
                self._connection.close()
                self._connection = None
        if self._connection is None:
            self._lock()
            with Session(self._lead, self.holder):
                pass  # it raises where another one was here meanwhile

    def give_up(self) -> None:
        """Let the next one have it."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _claim(self, server: Server) -> None:
        """Write the name down on one shard, and end the sessions of others."""
        with server.connect(self.holder) as connection:
            connection.execute(
                "INSERT INTO headroom.lease (holder) VALUES (%s) "
                "ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, since = now()",
                (self.holder,),
            )
            mine = f"{NAME}-{self.holder}"
            deadline = time.monotonic() + PATIENCE_S
            while connection.execute(_OTHERS, (f"{NAME}-%", mine)).fetchall():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{server.name}: sessions of another mover do not end")
                time.sleep(0.05)

    def _lock(self, wait_s: float = 0.0) -> None:
        deadline = time.monotonic() + wait_s
        while True:
            why: Exception = Superseded("another mover works on these shards")
            try:
                if self._try_lock():
                    return
            except psycopg.OperationalError as error:
                why = error
            if time.monotonic() >= deadline:
                raise why
            time.sleep(RETRY_S)

    def _try_lock(self) -> bool:
        """Without a session that waits: whoever has the lock ends the sessions of others."""
        connection = self._lead.connect(self.holder)
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (KEY,)).fetchone()
        if row and row[0]:
            self._connection = connection
            return True
        connection.close()
        return False
