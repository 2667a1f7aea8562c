"""The Redis protocol, as much of it as administration needs."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

PORT = 6379
SENTINEL_PORT = 26379
SECONDS = 2.0
"""How long a connection, or an answer, may take."""


class ReplyError(Exception):
    """What the server answered with `-`."""


class Connection:
    """One connection; `call` sends a command and returns its answer: str, int, None or a list of those.

    Raises OSError when nobody answers, ReplyError for an error answer.
    """

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._file = connected.makefile("rb")

    def call(self, *words: str | int) -> Any:
        """Send a command and read its answer."""
        parts = [str(word).encode() for word in words]
        sent = b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self._socket.sendall(sent)
        return self._read()

    def close(self) -> None:
        """Hang up."""
        with contextlib.suppress(OSError):
            self._file.close()
            self._socket.close()

    def _read(self) -> Any:
        line = self._file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("the connection was closed")
        kind, rest = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"+":
            return rest
        if kind == b"-":
            raise ReplyError(rest)
        if kind == b":":
            return int(rest)
        length = int(rest)
        if length < 0:
            return None
        if kind == b"*":
            return [self._read() for _ in range(length)]
        body = self._file.read(length + 2)
        if len(body) < length + 2:
            raise ConnectionError("the connection was closed")
        return body[:-2].decode(errors="replace")


@contextlib.contextmanager
def connect(
    host: str, port: int = PORT, user: str = "", password: str = "", seconds: float = SECONDS
) -> Iterator[Connection]:
    """A connection, logged in where a user is given."""
    connection = Connection(socket.create_connection((host, port), timeout=seconds))
    try:
        if user:
            connection.call("AUTH", user, password)
        yield connection
    finally:
        connection.close()


def info(text: str) -> dict[str, str]:
    """The lines `key:value` of INFO or CLUSTER INFO."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key: value.strip() for key, colon, value in pairs if colon and not key.startswith("#")}
