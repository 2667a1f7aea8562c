"""Gives a shard's lock back when its holder has died: Patroni of this pod is gone, and PostgreSQL with it.

Patroni does so itself when it goes in order. Killed, it leaves the lock behind, and the standby would wait until the
kubelet has started the container again (10 s and more after the first crash), or until the lock has run out.

Only a lock that names this pod is taken off, only while nothing listens here and a standby holds every commit, and only
in the very version that was read: whoever took it over meanwhile keeps it. The standby then decides by Patroni's own
rules whether it may be promoted.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import socket
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from shard import node

log = logging.getLogger("lock")
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
REST = ("127.0.0.1", 8008)
SOCKET = f"{node.SOCKETS}/.s.PGSQL.5432"
EVERY_S = 0.2
LOOKS = 2
"""One look more than one: between two of them a container that is being started would have begun to listen."""


class Holder:
    """Watches over the lock of this pod's shard."""

    def __init__(self, me: node.Node) -> None:
        self._me = me
        self._seen_alive = False
        self._dead = 0

    def watch(self) -> None:
        """Never returns. For a thread of its own: a database that hangs must not keep it from looking."""
        while True:
            with contextlib.suppress(OSError):
                self.look()
            time.sleep(EVERY_S)

    def look(self) -> None:
        """Give the lock back at the second look at a dead Patroni that was alive before."""
        if alive():
            self._seen_alive, self._dead = True, 0
            return
        self._dead += 1
        if self._seen_alive and self._dead == LOOKS:
            try:
                self._release()
            except (OSError, ValueError, KeyError) as error:
                self._dead = 0  # again at the next looks
                log.info("the lock was not given back: %s", error)

    def _release(self) -> None:
        state = f"/api/v1/namespaces/{self._me.namespace}/configmaps/{self._me.scope}"
        path = f"{state}-leader"
        found = _call("GET", path)
        heir = _annotations(_call("GET", f"{state}-sync")).get("sync_standby")
        if not heir or _annotations(found).get("leader") != self._me.name or alive():
            return
        version = found["metadata"]["resourceVersion"]
        _call("PATCH", path, {"metadata": {"resourceVersion": version, "annotations": {"leader": None}}})
        log.warning("Patroni and PostgreSQL of this pod are dead: the lock of %s is given back", self._me.scope)


def _annotations(found: dict[str, Any]) -> dict[str, str]:
    return found["metadata"].get("annotations") or {}


def alive() -> bool:
    """Whether Patroni or PostgreSQL of this pod listens. Only a refused connection proves that nobody does."""
    return any(_listens(*where) for where in ((socket.AF_INET, REST), (socket.AF_UNIX, SOCKET)))


def _listens(family: socket.AddressFamily, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _call(method: str, path: str, body: Any = None) -> dict[str, Any]:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
    host = f"[{host}]" if ":" in host else host
    request = urllib.request.Request(
        f"https://{host}:{port}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={
            "Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}",
            "Content-Type": "application/merge-patch+json",
        },
    )
    context = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=3, context=context) as answer:  # noqa: S310
        found: dict[str, Any] = json.load(answer)
    return found
