"""One setting, three kinds of Redis: alone, behind Sentinel, or a Cluster.

    redis://[user:password@]host[:6379][/db]
    redis+sentinel://[user:password@]h1[:26379],h2,h3/master[/db]
    redis+cluster://[user:password@]h1[:6379],h2

`rediss…` is the same over TLS. User and password are those of the data nodes; sentinels have settings of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import NoBackoff

from inference.errors import StartError
from inference.settings import Settings

Client = Redis | RedisCluster
_FIX = "correct REDIS_URL: redis://host/0, redis+sentinel://h1,h2,h3/master or redis+cluster://h1,h2"


@dataclass(frozen=True)
class Address:
    """A Redis address taken apart. `mode` is "", "sentinel" or "cluster"."""

    mode: str
    tls: bool
    nodes: tuple[tuple[str, int], ...]
    username: str | None
    password: str | None
    master: str
    database: int

    def __repr__(self) -> str:
        return f"Address({self.mode or 'redis'} {self.nodes})"


def parse(url: str) -> Address:
    """Take an address apart. Raises StartError (exit code 2), which never shows the password."""
    parts = urlsplit(url)
    scheme, _, mode = parts.scheme.partition("+")
    if scheme not in ("redis", "rediss") or mode not in ("", "sentinel", "cluster"):
        raise StartError(f"REDIS_URL has an unknown scheme {parts.scheme!r}", fix=_FIX, exit_code=2)
    credentials, _, hosts = parts.netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    path = [unquote(piece) for piece in parts.path.strip("/").split("/") if piece]
    master = path.pop(0) if mode == "sentinel" and path else ""
    try:
        nodes = tuple(_node(host, 26379 if mode == "sentinel" else 6379) for host in hosts.split(",") if host)
        database = int(path[0]) if path else 0
    except ValueError as error:
        raise StartError(f"REDIS_URL cannot be read: {error}", fix=_FIX, exit_code=2) from None
    if not nodes or (mode == "sentinel" and not master) or (mode == "" and len(nodes) > 1):
        raise StartError("REDIS_URL names no host, no master, or several hosts of one Redis", fix=_FIX, exit_code=2)
    return Address(mode, scheme == "rediss", nodes, unquote(user) or None, unquote(password) or None, master, database)


def connect(settings: Settings) -> Client:
    """A client for REDIS_URL. It connects when it is first used. Raises StartError."""
    assert settings.redis_url is not None  # noqa: S101 - the caller asked
    address = parse(settings.redis_url.get_secret_value())
    # A backstop: the store around the client ends a command earlier, by the caller's deadline.
    patience = 2 * settings.redis_timeout_ms / 1000
    common: dict[str, Any] = {
        "username": address.username or settings.redis_username,
        "password": address.password or _secret(settings.redis_password),
        "socket_timeout": patience,
        "socket_connect_timeout": patience,
        # One more try, at once: for a pooled connection that the server closed in the meantime.
        "retry": Retry(NoBackoff(), 1),
        **_tls(address, settings),
    }
    if address.mode == "cluster":
        nodes = [ClusterNode(host, port) for host, port in address.nodes]
        # A cluster that lost some slots still serves the others.
        return RedisCluster(startup_nodes=nodes, require_full_coverage=False, **common)
    common["db"] = address.database
    if address.mode == "sentinel":
        own: dict[str, Any] = {
            "username": settings.redis_sentinel_username,
            "password": _secret(settings.redis_sentinel_password),
            "socket_timeout": patience,
            "socket_connect_timeout": patience,
            # The next sentinel is the next try. The library's own default goes on asking one that hangs for seconds.
            "retry": Retry(NoBackoff(), 0),
            **_tls(address, settings),
        }
        sentinels: Any = Sentinel
        master: Redis = sentinels(list(address.nodes), sentinel_kwargs=own, **common).master_for(address.master)
        return master
    host, port = address.nodes[0]
    return Redis(host=host, port=port, **common)


def _node(text: str, default_port: int) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError(f"no host in {text!r}")
    return parts.hostname, parts.port or default_port


def _tls(address: Address, settings: Settings) -> dict[str, Any]:
    if not address.tls:
        return {}
    return {"ssl": True, "ssl_ca_certs": str(settings.redis_ca_file) if settings.redis_ca_file else None}


def _secret(value: Any) -> str | None:
    return None if value is None else str(value.get_secret_value())
