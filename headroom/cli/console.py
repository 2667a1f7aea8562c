"""What the command line writes and asks with: results on stdout, everything about the work on stderr."""

from __future__ import annotations

import re
import sys
import time
from dataclasses import dataclass

import typer
from rich.console import Console
from rich.markup import escape
from rich.status import Status
from rich.text import Text

from headroom.errors import InputError

# A pipe or a log has no width of its own; 80 columns would fold every formula.
LOG_COLUMNS = 140


def _console(*, stderr: bool) -> Console:
    console = Console(stderr=stderr, soft_wrap=True, highlight=False)
    if not console.is_terminal:
        console.width = LOG_COLUMNS
    return console


out = _console(stderr=False)
err = _console(stderr=True)

HEARTBEAT_SECONDS = 15.0
NEWS_CHARACTERS = 300

_here: dict[str, list[str]] = {"headroom": [], "kubectl": []}
"""How a program is pointed at the cluster and the stack of this run, where it would go elsewhere by itself."""


def on_cluster(headroom: str = "", kubectl: str = "") -> None:
    """Remember how the cluster of this run is named (`--context x`; for kubectl `KUBECONFIG=…`)."""
    _here.update(headroom=[headroom] if headroom else [], kubectl=[kubectl] if kubectl else [])


def on_stack(stack: str) -> None:
    """Remember the stack of this run. Commands act on `local` by default."""
    if stack != "local":
        _here["headroom"].append(f"--stack {stack}")


def here() -> str:
    """The options of the cluster and the stack with a space before them, for a command of ours that is printed whole;
    nothing on the default ones."""
    return "".join(f" {option}" for option in _here["headroom"])


def remind(words: str) -> None:
    """Where a printed command does not name this run's cluster or stack, say so: it would act on another one.

    `kubectl config` is about all of them.
    """
    told = []
    for program, options in _here.items():
        missing = [option for option in options if option not in words]
        if missing and re.search(rf"\b{program} (?!config )[a-z]", words):
            told.append(f"{program} with {' '.join(missing)}")
    if told:
        err.print(f"  [yellow]{escape('; '.join(told))}[/yellow], as here: without it a command goes elsewhere")


def confirm(question: str, *, where: str = "") -> None:
    """Ask before something is changed; a no ends the command. Raises InputError where nobody is there to answer."""
    if not sys.stdin.isatty():
        raise InputError(f"{question.rstrip('?')}: nobody is there to confirm it", fix="add --yes")
    typer.confirm(f"{question}{where}", abort=True, err=True)


@dataclass(frozen=True)
class Now:
    """What is shown while a step runs: what it is and for how long, and below it the newest news, folded, never cut."""

    title: str
    started: float
    """As `time.monotonic` has it."""
    news: str = ""

    def __rich__(self) -> Text:
        head = f"{self.title} ({time.monotonic() - self.started:.0f} s)" if self.title else ""
        if self.title and self.news.startswith(self.title):
            head = ""  # the news say it again
        return Text("\n".join(filter(None, (head, self.news))), overflow="fold")


class ConsoleProgress:
    """Progress on stderr: a live line on a terminal; elsewhere (CI, a pipe) plain lines, with news at most every
    HEARTBEAT_SECONDS so that a log stays short and never looks hung."""

    def __init__(self, console: Console = err) -> None:
        self._console = console
        self._running: list[tuple[str, float]] = []
        self._status: Status | None = None
        self._said = 0.0

    def begin(self, text: str) -> None:
        self._running.append((text, time.monotonic()))
        if self._console.is_terminal:
            self._live()
        else:
            self._console.print(f"{self._indent()}… {escape(text)}")
            self._said = time.monotonic()

    def detail(self, text: str) -> None:
        if self._console.is_terminal:
            self._live(text)
        elif time.monotonic() - self._said >= HEARTBEAT_SECONDS:
            self._console.print(f"{self._indent()}  {escape(text)}")
            self._said = time.monotonic()

    def end(self, text: str, *, ok: bool) -> None:
        _, started = self._running.pop() if self._running else ("", time.monotonic())
        self._stop()
        mark = "[green]✓[/green]" if ok else "[red]✗[/red]"
        indent = "  " * len(self._running)
        self._console.print(f"{indent}{mark} {escape(text)} [dim]({time.monotonic() - started:.1f} s)[/dim]")
        if self._running and self._console.is_terminal:
            self._live()

    def note(self, text: str) -> None:
        self._console.print(f"{self._indent()}{escape(text)}")

    def _indent(self) -> str:
        return "  " * max(0, len(self._running) - 1)

    def _live(self, news: str = "") -> None:
        title, started = self._running[-1] if self._running else ("", time.monotonic())
        now = Now(title, started, news.splitlines()[-1][:NEWS_CHARACTERS] if news else "")
        if self._status is None:
            self._status = self._console.status(now)
            self._status.start()
        else:
            self._status.update(now)

    def _stop(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None
