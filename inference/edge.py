"""What every request passes first: its id, its count, its time, its log line, and its place in the shutdown."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from itertools import count
from math import inf
from time import monotonic, perf_counter
from typing import Any, Literal

from inference.logs import request_id
from inference.metrics import Metrics
from inference.tracing import Tracer

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Any other path is counted as one: a scanner must not be able to make series.
WORK_PATHS = frozenset({"/predict", "/predict/batch"})
PATHS = WORK_PATHS | {"/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs"}
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# Of requests that are told to return, one line in so many seconds: a line each would cost more than the answer.
REFUSALS_EVERY_S = 1.0
_GIVEN_ID = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
log = logging.getLogger("inference.access")


class Activity:
    """What the process is busy with: the shutdown waits for it to end. Probes and scrapes do not count."""

    def __init__(self) -> None:
        self.draining = False
        self.in_flight = 0
        self.last = monotonic()

    def quiet_for(self, seconds: float) -> bool:
        """Whether nothing runs, and nothing came or ended, for that long."""
        return self.in_flight == 0 and monotonic() - self.last >= seconds


class Edge:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: App,
        *,
        metrics: Metrics,
        activity: Activity,
        tracer: Tracer,
        access_log: Literal["all", "failures", "none"],
        direct: Mapping[tuple[str, str], App] | None = None,
    ) -> None:
        """`direct` has apps for single routes, by method and path, that are called past `app`."""
        self._app = app
        self._direct = dict(direct or {})
        self._metrics = metrics
        self._activity = activity
        self._tracer = tracer
        self._access_log = access_log
        self._prefix = os.urandom(6).hex()
        self._numbers = count(1)
        # Label lookups are a visible share of a request's cost, and there are few combinations.
        self._series: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._refused = 0
        self._refusals_told = -inf
        metrics.in_flight.set_function(lambda: activity.in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request; lifespan messages pass through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        activity = self._activity
        path = scope["path"] if scope["path"] in PATHS else "other"
        is_work = path in WORK_PATHS
        identity = self._identity(scope)
        token = request_id.set(identity.decode())
        status = 500

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), (b"x-request-id", identity)]
                if activity.draining:
                    # Moves a client that keeps its connection to another pod, without ever cutting it off.
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        app = self._direct.get((scope["method"], path), self._app)
        if is_work:
            activity.in_flight += 1
        try:
            if self._tracer.on and is_work:
                headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in scope["headers"]}
                with self._tracer.request(f"{scope['method']} {path}", headers):
                    await app(scope, receive, answer)
            else:
                await app(scope, receive, answer)
        finally:
            if is_work:
                activity.in_flight -= 1
                activity.last = monotonic()
            self._account(scope["method"], path, status, perf_counter() - started)
            request_id.reset(token)

    def _identity(self, scope: Scope) -> bytes:
        """The caller's request id where it sends a sane one, else the next of our own."""
        for key, value in scope["headers"]:
            if key == b"x-request-id" and _GIVEN_ID.fullmatch(value):
                return bytes(value)
        return f"{self._prefix}-{next(self._numbers):x}".encode()

    def _account(self, method: str, path: str, status: int, seconds: float) -> None:
        if method not in METHODS:
            method = "other"
        key = (method, path, status)
        series = self._series.get(key)
        if series is None:
            counter = self._metrics.requests.labels(method, path, str(status))
            series = self._series[key] = (counter, self._metrics.duration.labels(method, path))
        series[0].inc()
        series[1].observe(seconds)
        if self._access_log == "failures" and status == 503 and path in WORK_PATHS:
            self._tell_refusals()
        elif self._access_log == "all" or (self._access_log == "failures" and status >= 500):
            level = logging.WARNING if status >= 500 else logging.INFO
            fields = {"method": method, "path": path, "status": status, "duration_ms": round(seconds * 1000, 2)}
            log.log(level, "%s %s %d", method, path, status, extra=fields)

    def _tell_refusals(self) -> None:
        self._refused += 1
        now = monotonic()
        if now - self._refusals_told >= REFUSALS_EVERY_S:
            fields = {"status": 503, "refused": self._refused}
            log.warning("503 for %d requests since the last such line", self._refused, extra=fields)
            self._refused, self._refusals_told = 0, now
