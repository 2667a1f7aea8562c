"""Guards asking each other, and answering: one small HTTP server, one request a peer and round."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from headroom_h2o.membership import Member
from headroom_h2o.settings import GUARD_PORT

TIMEOUT = 3.0


def told(member: Member) -> dict[str, Any]:
    """A member as JSON."""
    return {
        "pod": member.pod,
        "token": member.token,
        "phase": member.phase,
        "together": sorted(member.together),
        "address": member.address,
    }


def heard(document: Mapping[str, Any]) -> Member:
    """A member from JSON. Raises KeyError, TypeError for what is none."""
    return Member(
        document["pod"],
        document["token"],
        document["phase"],
        frozenset(document["together"]),
        document["address"],
    )


def ask(names: Mapping[str, str], port: int = GUARD_PORT) -> dict[str, Member | None]:
    """All peers (pod to host name) at once; None for one that does not answer, or whose name still leads elsewhere."""
    if not names:
        return {}
    with ThreadPoolExecutor(min(16, len(names))) as pool:
        return dict(zip(names, pool.map(lambda name: _one(name, names[name], port), names), strict=True))


def _one(pod: str, host: str, port: int) -> Member | None:
    connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/state")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != HTTPStatus.OK:
            return None
        member = heard(json.loads(body))
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return None
    finally:
        connection.close()
    return member if member.pod == pod else None


def serve(
    state: Callable[[], Mapping[str, Any]], checks: Mapping[str, Callable[[], bool]], port: int = GUARD_PORT
) -> ThreadingHTTPServer:
    """Answer `/state` to peers, and each check (`/ready`, `/live`) with 200 or 503, in a thread of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/state":
                self._answer(HTTPStatus.OK, dict(state()))
            elif self.path in checks:
                ok = checks[self.path]()
                self._answer(HTTPStatus.OK if ok else HTTPStatus.SERVICE_UNAVAILABLE, {"ok": ok})
            else:
                self._answer(HTTPStatus.NOT_FOUND, {})

        def _answer(self, status: HTTPStatus, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Probes every few seconds would be all of the log."""

    server = ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
