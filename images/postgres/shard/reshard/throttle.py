"""Bytes per second of all copies together."""

from __future__ import annotations

import threading
import time


class Throttle:
    """`take` waits until that many bytes may pass. 0 bytes per second is no limit.

    Idle time is not saved up beyond a second: a pause is not followed by a burst.
    """

    def __init__(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self._lock = threading.Lock()
        self._free_at = time.monotonic()

    def take(self, count: int) -> None:
        """Wait for the turn of these bytes."""
        if not self._rate:
            return
        with self._lock:
            self._free_at = max(self._free_at, time.monotonic() - 1) + count / self._rate
            wait = self._free_at - time.monotonic()
        if wait > 0:
            time.sleep(wait)
