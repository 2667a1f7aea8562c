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


class Lease:
    """Held from `take` to `give_up`, as long as `held` says so."""

    def __init__(self, lead: Server, holder: str) -> None:
        self._lead, self.holder = lead, holder
        self._connection: psycopg.Connection[object] | None = None

    def take(self, servers: Iterable[Server]) -> None:
        """Become the one mover of these shards. Raises Superseded where another one works."""
        self._lock()
        for server in servers:
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

    def _lock(self) -> None:
        connection = self._lead.connect(self.holder)
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (KEY,)).fetchone()
        if not (row and row[0]):
            connection.close()
            raise Superseded("another mover works on these shards")
        self._connection = connection
