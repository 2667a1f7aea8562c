"""Patroni's REST API of one member."""

from __future__ import annotations

import base64
import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Member:
    """One pod by its name in DNS, with the certificates (PEM) that it is checked against; the pod itself needs none.

    Methods raise OSError when it does not answer, or is not who it should be.
    """

    host: str
    password: str
    authorities: str | None = None

    def state(self) -> dict[str, Any]:
        """What it says of itself: role, state, pending_restart, …"""
        return self._call("GET", "/patroni")

    def settings(self) -> dict[str, Any]:
        """The shard's dynamic configuration."""
        return self._call("GET", "/config")

    def patch(self, change: dict[str, Any]) -> None:
        """Merge a change into it; null removes a key."""
        self._call("PATCH", "/config", change)

    def reload(self) -> None:
        """Read its configuration file, certificates included."""
        self._call("POST", "/reload")

    def reinitialize(self) -> None:
        """Throw a standby's data away and copy the primary's; refused while nobody leads."""
        self._call("POST", "/reinitialize", {"force": True})

    def restart(self) -> None:
        """Restart PostgreSQL if a setting waits for it; returns when it is up again."""
        self._call("POST", "/restart", {"restart_pending": True, "timeout": 60}, seconds=90)

    def _call(self, method: str, path: str, body: Any = None, seconds: float = 5) -> dict[str, Any]:
        login = base64.b64encode(f"patroni:{self.password}".encode()).decode()
        request = urllib.request.Request(
            f"https://{self.host}:8008{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Basic {login}", "Content-Type": "application/json"},
        )
        context = ssl.create_default_context(cadata=self.authorities)
        if self.authorities is None:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        try:
            with urllib.request.urlopen(request, timeout=seconds, context=context) as answer:  # noqa: S310
                text = answer.read()
        except urllib.error.HTTPError as refused:
            text = refused.read()  # /patroni of a member that does not run says so with 503
            if method != "GET":
                raise
        try:
            found = json.loads(text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


def merge_patch(held: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]:
    """The JSON merge patch (RFC 7396) that makes `held` into `wanted`; empty when it is that already.

    >>> merge_patch({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 4}})
    {'a': None, 'b': {'c': 4, 'd': None}}
    """
    change: dict[str, Any] = {key: None for key in held if key not in wanted}
    for key, value in wanted.items():
        before = held.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            if inner := merge_patch(before, value):
                change[key] = inner
        elif before != value:
            change[key] = value
    return change
