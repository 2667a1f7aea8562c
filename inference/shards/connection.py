"""One connection to one shard through PgBouncer in transaction mode, and steps on it that end on time."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

import psycopg
from psycopg import AsyncClientCursor, AsyncConnection, sql
from psycopg.conninfo import make_conninfo
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from inference.shards.failures import AttemptTimeout, CommitUnconfirmed, refused_commit

T = TypeVar("T")
# How long a step may need to notice that its socket was cut.
_NOTICE_S = 1.0


class ShardConnection(AsyncConnection[TupleRow]):
    """Keeps the warnings that the server sends beside its answers."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.warnings: list[str] = []
        self.add_notice_handler(self._keep)

    def _keep(self, notice: psycopg.errors.Diagnostic) -> None:
        if (notice.severity_nonlocalized or notice.severity) == "WARNING":
            self.warnings.append(f"{notice.message_primary} {notice.message_detail or ''}".strip())

    def cut(self) -> None:
        """End both directions of the socket: whatever waits on it fails at once.

        Cancelling the task would not do: psycopg then asks the server to cancel and waits seconds for a frozen one.
        """
        with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(self.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


Pool = AsyncConnectionPool[ShardConnection]


def make_pool(address: str, database: str, size: int, name: str) -> Pool:
    """A pool of at most `size` connections, not opened. It gives up a failed connection attempt quickly: the callers'
    own retries ask for the next, in step with their deadlines."""
    conninfo = make_conninfo(
        address,
        dbname=database,
        connect_timeout=2,
        # A frozen peer's kernel acknowledges nothing: without this a cut-off connection hangs for minutes.
        tcp_user_timeout=5000,
        keepalives_idle=5,
        keepalives_interval=2,
        keepalives_count=2,
    )
    return AsyncConnectionPool(
        conninfo,
        connection_class=ShardConnection,
        # Transaction pooling: no prepared statements, and a transaction only where we open one.
        kwargs={"autocommit": True, "prepare_threshold": None, "cursor_factory": AsyncClientCursor},
        min_size=0,
        max_size=size,
        # Connections are spread over the poolers anew now and then, and leave one that drains.
        max_lifetime=300,
        reconnect_timeout=0.1,
        name=name,
        open=False,
    )


async def within(connection: ShardConnection, step: Coroutine[Any, Any, T], seconds: float) -> T:
    """Run a step on the connection; after that many seconds cut the connection and raise AttemptTimeout.

    A step that was answered in the last moment still counts.
    """
    task = asyncio.ensure_future(step)
    cut_off = False
    try:
        await asyncio.wait((task,), timeout=seconds)
        if not task.done():
            cut_off = True
            connection.cut()
            await asyncio.wait((task,), timeout=_NOTICE_S)
    except asyncio.CancelledError:
        connection.cut()
        _forget(task)
        raise
    if task.done() and (cut_off is False or task.exception() is None):
        return task.result()
    _forget(task)
    raise AttemptTimeout(f"no answer within {seconds:.3f} s")


def _forget(task: asyncio.Task[Any]) -> None:
    """Its end is of no interest any more, but must not be reported as never looked at."""
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def limits(seconds: float) -> sql.Composed:
    """`SET LOCAL` of the server's own limits for one transaction that has that long."""
    milliseconds = max(1, int(seconds * 1000))
    return sql.SQL("SET LOCAL statement_timeout = {}; SET LOCAL idle_in_transaction_session_timeout = {}").format(
        sql.Literal(milliseconds), sql.Literal(milliseconds + 1000)
    )


async def query(connection: ShardConnection, statement: sql.Composable, params: Any, seconds: float) -> list[TupleRow]:
    """Rows of one SELECT, in one round trip: several statements in one message are one transaction."""
    async with connection.cursor() as cursor:
        text = sql.SQL("{}; {}").format(limits(seconds), statement)
        await cursor.execute(text, params)
        while cursor.nextset():
            pass
        return await cursor.fetchall()


async def prepare_write(
    connection: ShardConnection, statement: sql.Composable, params: Any, seconds: float
) -> tuple[list[TupleRow], int]:
    """Everything of a write but its COMMIT: the rows that it returns, and how many it changed.

    Whatever fails here, nothing is applied: without a COMMIT the server rolls back.
    """
    async with connection.cursor() as cursor:
        text = sql.SQL("BEGIN; {}; {}").format(limits(seconds), statement)
        await cursor.execute(text, params)
        while cursor.nextset():
            pass
        return (await cursor.fetchall() if cursor.description else []), cursor.rowcount


async def commit(connection: ShardConnection, seconds: float) -> None:
    """Send COMMIT and wait for its confirmation.

    Raises psycopg's error when the server proves that it rolled back, CommitUnconfirmed when nobody can tell. A warning
    counts as unconfirmed: PostgreSQL answers COMMIT with success and a warning when the wait for the synchronous
    standby was cancelled, and such a commit can be lost in a failover.
    """
    connection.warnings.clear()
    try:
        cursor = await within(connection, connection.execute("COMMIT"), seconds)
    except psycopg.Error as error:
        if refused_commit(error):
            raise
        raise CommitUnconfirmed(str(error)) from error
    except AttemptTimeout as error:
        raise CommitUnconfirmed(str(error)) from error
    if cursor.statusmessage != "COMMIT" or connection.warnings:
        raise CommitUnconfirmed("; ".join(connection.warnings) or f"answered with {cursor.statusmessage}")
