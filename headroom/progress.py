"""How long work tells what it is doing, without knowing who listens.

The command line shows it live with rich on a terminal and as plain lines elsewhere; tests record it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Progress(Protocol):
    """A listener. `step` frames one piece of work; `detail` is its latest news; `note` is a line that stays."""

    def begin(self, text: str) -> None:
        """A step began, for example "building Kubernetes 1.35.4 (about 6 minutes, once)"."""

    def detail(self, text: str) -> None:
        """The newest news of the running step; replaces the news before it."""

    def end(self, text: str, *, ok: bool) -> None:
        """The running step ended; `text` says with what (for example "control plane ready")."""

    def note(self, text: str) -> None:
        """A line for the person that stays on the screen."""


class Silent:
    """Nobody listens."""

    def begin(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...
    def end(self, text: str, *, ok: bool) -> None: ...
    def note(self, text: str) -> None: ...


@contextmanager
def step(progress: Progress, text: str, done: str = "") -> Iterator[None]:
    """Frame a piece of work: `begin` before it, `end` after it, also when it fails or is interrupted."""
    progress.begin(text)
    try:
        yield
    except BaseException:
        progress.end(text, ok=False)
        raise
    progress.end(done or text, ok=True)
