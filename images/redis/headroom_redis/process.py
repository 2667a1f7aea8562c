"""A program that runs beside another: starts it, hands it the signals, does small things while it lives."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from types import FrameType


def say(text: str) -> None:
    """A line for the pod's log."""
    print(f"headroom: {text}", file=sys.stderr, flush=True)


def supervise(command: Sequence[str], tick: Callable[[], None], seconds: float, holding: Sequence[int] = ()) -> int:
    """Run a command to its end, calling `tick` every so often; its exit code.

    What `tick` raises is told and does not end the command. `holding` are open files that the command keeps open, too.
    """
    child = subprocess.Popen(list(command), pass_fds=holding)

    def hand_on(number: int, _: FrameType | None) -> None:
        child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, hand_on)
    told = ""
    following = time.monotonic() + seconds
    while True:
        try:
            return _code(child.wait(max(0.05, following - time.monotonic())))
        except subprocess.TimeoutExpired:
            following = time.monotonic() + seconds
        try:
            tick()
            told = ""
        except Exception as error:  # the loop must outlive whatever is unwell around it
            text = f"{type(error).__name__}: {error}"
            if text != told:
                say(text)
                told = text


def _code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned
