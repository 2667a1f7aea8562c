"""uvicorn, with a shutdown that no client notices.

SIGTERM or SIGINT: readiness says 503 at once, while requests are still taken and answered, each with
`Connection: close`, so that clients that keep connections go elsewhere. Once nothing runs and nothing came for
`drain_quiet_s`, or after `drain_s`, the listener closes, what is still in flight finishes, and the process exits.
A second signal stops at once.
"""

from __future__ import annotations

import logging
from time import monotonic
from types import FrameType

import uvicorn

from inference.edge import Activity
from inference.settings import Settings

log = logging.getLogger(__name__)


class Server(uvicorn.Server):
    """One process, one event loop."""

    def __init__(self, config: uvicorn.Config, activity: Activity, settings: Settings) -> None:
        super().__init__(config)
        self._activity = activity
        self._settings = settings
        self._drain_until = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The signal handler: only flags, the loop does the rest within 0.1 s."""
        if self._activity.draining:
            super().handle_exit(sig, frame)
            return
        self._drain_until = monotonic() + self._settings.drain_s
        self._activity.last = monotonic()
        self._activity.draining = True

    async def on_tick(self, counter: int) -> bool:
        """uvicorn's beat: whether to exit."""
        stop = await super().on_tick(counter)
        if not self._activity.draining or stop:
            return stop
        return self._activity.quiet_for(self._settings.drain_quiet_s) or monotonic() >= self._drain_until

    def _log_started_message(self, listeners: object) -> None:
        port = self.servers[0].sockets[0].getsockname()[1]
        log.info("serving on http://%s:%d", self.config.host, port, extra={"port": port})


def make_server(app: object, activity: Activity, settings: Settings) -> Server:
    """A server for the ASGI app, not started."""
    config = uvicorn.Config(
        app,  # type: ignore[arg-type]
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        http="httptools",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # nothing asks who the client is
        # Longer than a load balancer or ingress keeps its idle connections, so that it never writes into a closed one.
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(settings.deadline_max_ms / 1000)),
        backlog=2048,
    )
    return Server(config, activity, settings)
