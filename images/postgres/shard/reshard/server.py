"""A shard's primary as the mover reaches it, and sessions on it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

NAME = "reshard"
# A statement that is written to a log when it fails could hold a subscription's password.
_QUIET = (
    "SET log_min_error_statement = panic; SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; "
    "SET synchronous_commit = on; SET search_path = pg_catalog, pg_temp"
)
_ALIVE = {
    "connect_timeout": 3,
    # A frozen peer's kernel may still be there, so the kernel asks for signs of life.
    "tcp_user_timeout": 5000,
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "target_session_attrs": "read-write",
}


class Superseded(Exception):
    """Another mover has the lease: this one must not touch anything any more."""


class Unconfirmed(Exception):
    """A commit was answered with a warning: the standby may not have it."""


@dataclass(frozen=True)
class Server:
    """`address` are libpq's parameters for a superuser on the primary, `upstream` those that another shard's
    subscription uses to read from it."""

    number: int
    address: Mapping[str, Any]
    upstream: Mapping[str, Any]

    @property
    def name(self) -> str:
        return f"shard {self.number}"

    def connect(self, holder: str = "", **more: Any) -> psycopg.Connection[Any]:
        """A plain connection, in autocommit. Raises psycopg.OperationalError."""
        parameters: dict[str, Any] = {**_ALIVE, **self.address, "application_name": f"{NAME}-{holder}", **more}
        return psycopg.connect(**parameters, autocommit=True)

    def conninfo(self) -> str:
        """What a subscription of another shard connects with. It holds a password."""
        parameters = {"connect_timeout": "3", "application_name": "reshard", **self.upstream}
        return psycopg.conninfo.make_conninfo(**parameters)

    def environment(self) -> dict[str, str]:
        """For PostgreSQL's own programs."""
        names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD", "dbname": "PGDATABASE",
                 "sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "channel_binding": "PGCHANNELBINDING",
                 "require_auth": "PGREQUIREAUTH"}  # fmt: skip
        given = {names[key]: str(value) for key, value in self.address.items() if key in names}
        return {**os.environ, **given, "PGCONNECT_TIMEOUT": "3"}


class Session:
    """A connection to a primary that belongs to the holder of the lease.

    It is checked when it is opened; a mover that takes the lease over first writes its name everywhere and then ends
    the sessions of others, so a session that is open is the holder's.
    """

    def __init__(self, server: Server, holder: str) -> None:
        self.server = server
        self.connection = server.connect(holder)
        self._warnings: list[str] = []
        self.connection.add_notice_handler(self._noticed)
        try:
            self.connection.execute(_QUIET)
            self._check(holder)
        except BaseException:
            self.connection.close()
            raise

    def _check(self, holder: str) -> None:
        row = self.one("SELECT holder FROM headroom.lease")
        if row is None or row[0] != holder:
            raise Superseded(f"{self.server.name} belongs to another mover")

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(psycopg.Error):
            self.connection.close()

    def run(self, statement: str | sql.Composable, parameters: Sequence[Any] | None = None) -> psycopg.Cursor[Any]:
        """A statement; outside a transaction it commits by itself."""
        return self.connection.execute(statement, parameters)  # type: ignore[arg-type]

    def one(self, statement: str | sql.Composable, parameters: Sequence[Any] | None = None) -> Any:
        """Its first row, None where there is none."""
        return self.run(statement, parameters).fetchone()

    def all(self, statement: str | sql.Composable, parameters: Sequence[Any] | None = None) -> list[Any]:
        """Its rows."""
        return self.run(statement, parameters).fetchall()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """One that the synchronous standby has when the block ends.

        Raises Unconfirmed where the server gave up waiting for it: whether it lasts is then not known.
        """
        self._warnings.clear()
        with self.connection.transaction():
            yield
        if any("synchronous" in warning for warning in self._warnings):
            raise Unconfirmed(self._warnings[0])

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Cut the connection when the block takes longer: a frozen server answers nothing, also no cancellation."""
        timer = threading.Timer(seconds, self.cut)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def cut(self) -> None:
        """Whatever waits on the connection fails at once."""
        with (
            contextlib.suppress(OSError, psycopg.Error),
            socket.socket(fileno=os.dup(self.connection.fileno())) as same,
        ):
            same.shutdown(socket.SHUT_RDWR)

    def timeline(self) -> str:
        """It changes when another server becomes the primary, and with it all that was only on the former one."""
        return str(self.one("SELECT left(pg_walfile_name(pg_current_wal_lsn()), 8)")[0])

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        if (notice.severity_nonlocalized or notice.severity) == "WARNING":
            self._warnings.append(f"{notice.message_primary} {notice.message_detail or ''}".strip())
