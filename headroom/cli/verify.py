"""`headroom verify`: the runbook's checks, one line each, once or again and again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from headroom import project
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.cli import options, target
from headroom.cli.console import out, remind
from headroom.ops import verify as checks
from headroom.ops.verify import Finding, Scene, Verdict


class Format(StrEnum):
    table = "table"
    json = "json"


MARKS = {
    Verdict.passed: "[green]pass[/green]",
    Verdict.warned: "[yellow]warn[/yellow]",
    Verdict.failed: "[red]FAIL[/red]",
    Verdict.skipped: "[yellow]skip[/yellow]",
}


def verify(
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    format_: Annotated[
        Format, typer.Option("--format", "-f", help="How to print it; json with --watch is a line a round.")
    ] = Format.table,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Look again and again, until Ctrl-C; then the last look decides.")
    ] = False,
    interval: Annotated[
        float,
        typer.Option(
            "--interval",
            parser=options.seconds("1s", "1h"),
            metavar="TIME",
            help="Between two looks of --watch, for example 10s.",
            show_default="5s",
        ),
    ] = 5.0,
) -> None:
    """Check a live stack against its plan. Exit 1 if a check fails; each failure comes with the command that helps.

    Looks at namespaces, pods, rollouts, endpoints, health, metrics, autoscalers, H2O, PostgreSQL, PgBouncer, Redis, and
    certificates that expire (30 days: a warning, 7: a failure). What a failure means: headroom doctor.

    [dim]headroom verify --stack prod --context prod[/dim]
    [dim]headroom verify --stack local --watch --interval 10s[/dim]
    """
    plan = plans.make(demands.load(stack, config or project.stack_file(stack)))
    where, _ = target.resolve(context, name)
    scene = Scene(plan, where.kubectl, where.real_pods)
    if watch:
        found = _watch(lambda: list(checks.run(scene)), interval, where.title, format_)
    else:
        found = _once(checks.run(scene), format_)
        if format_ is Format.table:
            remind("\n".join(finding.fix for finding in found))
            out.print(f"{_summary(found)} on {where.title}")
    if any(f.verdict is Verdict.failed for f in found):
        raise typer.Exit(1)


def _once(findings: Iterator[Finding], format_: Format) -> Sequence[Finding]:
    found = []
    for finding in findings:
        found.append(finding)
        if format_ is Format.table:
            _say(finding)
    if format_ is Format.json:
        print(json.dumps([{**f.__dict__} for f in found], indent=2))
    return found


def _watch(look: Callable[[], Sequence[Finding]], pause: float, title: str, format_: Format) -> Sequence[Finding]:
    """Look until Ctrl-C; gives the last whole look. A terminal shows the newest in place; a log gets what changed."""
    found: Sequence[Finding] = ()
    drawn = format_ is Format.table and out.is_terminal
    try:
        with Live(console=out, auto_refresh=False, transient=False) if drawn else _Nothing() as screen:
            while True:
                new = look()
                if isinstance(screen, Live):
                    screen.update(_page(new, title), refresh=True)
                elif format_ is Format.json:
                    print(json.dumps({"at": _now(), "findings": [{**f.__dict__} for f in new]}), flush=True)
                else:
                    _changes(found, new, title)
                found = new
                time.sleep(pause)
    except KeyboardInterrupt:
        return found


class _Nothing:
    """No screen."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None


def _page(found: Sequence[Finding], title: str) -> Text:
    return Text.from_markup(
        "\n".join([*(line for f in found for line in _lines(f)), f"{_now()}  {_summary(found)} on {escape(title)}"])
    )


def _changes(before: Sequence[Finding], now: Sequence[Finding], title: str) -> None:
    """In a log: the first look whole, then what differs in its verdict, and a line a round."""
    known = {(f.component, f.check): f.verdict for f in before}
    for finding in now:
        if known.get((finding.component, finding.check)) is not finding.verdict:
            _say(finding)
    out.print(f"{_now()}  {_summary(now)} on {title}")


def _summary(found: Sequence[Finding]) -> str:
    count = {verdict: sum(f.verdict is verdict for f in found) for verdict in Verdict}
    warned = f"{count[Verdict.warned]} warned, " if count[Verdict.warned] else ""
    return f"{count[Verdict.passed]} passed, {warned}{count[Verdict.failed]} failed, {count[Verdict.skipped]} skipped"


def _now() -> str:
    return datetime.now().astimezone().isoformat(timespec="seconds")


def _say(finding: Finding) -> None:
    for line in _lines(finding):
        out.print(line)


def _lines(finding: Finding) -> Iterator[str]:
    head = f"{escape(finding.component)}  {escape(finding.check)}: {escape(finding.evidence)}"
    yield f"{MARKS[finding.verdict]}  {head}"
    if finding.fix:
        yield f"      [green]fix:[/green] {escape(finding.fix)}"
