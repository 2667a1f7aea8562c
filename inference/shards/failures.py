"""What a failed attempt means: whether another one makes sense, and whether it is safe."""

from __future__ import annotations

from enum import StrEnum

import psycopg
from psycopg import errors as pg
from psycopg_pool import PoolClosed, PoolTimeout


class AttemptTimeout(Exception):
    """One attempt took its share of the deadline. Its connection has been cut."""


class CommitUnconfirmed(Exception):
    """A COMMIT was sent and its confirmation did not come, or came with a warning."""


class Reason(StrEnum):
    """Why an attempt is repeated; a label of the retry metric."""

    CONNECTION = "connection"
    TIMEOUT = "timeout"
    READ_ONLY = "read_only"
    MOVED = "moved"
    CONFLICT = "conflict"
    UNCONFIRMED = "unconfirmed"


# The first that an error is an instance of. A fenced bucket refuses the privilege; one that has left, or has not come
# yet, has no schema or table. Read-only is a server that was the primary until a moment ago.
_REASONS: tuple[tuple[tuple[type[BaseException], ...], Reason | None], ...] = (
    ((CommitUnconfirmed,), Reason.UNCONFIRMED),
    ((AttemptTimeout, PoolTimeout, pg.QueryCanceled), Reason.TIMEOUT),
    ((pg.InsufficientPrivilege, pg.InvalidSchemaName, pg.UndefinedTable), Reason.MOVED),
    ((pg.ReadOnlySqlTransaction,), Reason.READ_ONLY),
    ((pg.SerializationFailure, pg.DeadlockDetected), Reason.CONFLICT),
    ((PoolClosed,), None),
    ((OSError,), Reason.CONNECTION),
)
# PostgreSQL's classes: connection exception, insufficient resources, operator intervention, system error.
_TRANSIENT_CLASSES = ("08", "53", "57", "58")


def why_again(error: BaseException) -> Reason | None:
    """The reason to try again, or None when that would only fail again (the caller's SQL, or a programming error)."""
    for kinds, reason in _REASONS:
        if isinstance(error, kinds):
            return reason
    if not isinstance(error, psycopg.Error):
        return None
    if error.sqlstate is not None:
        return Reason.CONNECTION if error.sqlstate[:2] in _TRANSIENT_CLASSES else None
    # Without a code it is libpq that speaks: the connection is gone.
    return Reason.CONNECTION if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) else None


def refused_commit(error: psycopg.Error) -> bool:
    """Whether this answer to COMMIT proves that the transaction was rolled back.

    Only an ERROR of the server itself does, such as a deferred constraint. A FATAL, a lost connection or an answer of
    the pooler between (class 08) says nothing about what the server did, nor does an operator's intervention (57),
    which can end the wait for the standby after the commit is on disk.
    """
    severity = error.diag.severity_nonlocalized or error.diag.severity
    return severity == "ERROR" and error.sqlstate is not None and error.sqlstate[:2] not in ("08", "57", "58", "XX")
