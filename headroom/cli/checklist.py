"""`headroom checklist`: what to have done before, while and after a change."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from headroom import local, project
from headroom.cli import options, target
from headroom.cli.console import ConsoleProgress, out, remind
from headroom.ops import checklist as lists
from headroom.ops.checklist import Checklist, Group, Mark
from headroom.ops.diff.markup import code, prose


class Format(StrEnum):
    table = "table"
    markdown = "markdown"


MARKS = {Mark.done: "[green]done[/green]", Mark.open: "[yellow]open[/yellow]", Mark.failed: "[red]FAIL[/red]"}


def checklist(
    stack: options.Stack = "local",
    base: Annotated[
        str | None,
        typer.Option("--base", metavar="REF", help="What it changes from.", show_default="where this left main"),
    ] = None,
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no cluster: what only it can tell stays open.")
    ] = False,
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.table,
) -> None:
    """The checklist of the change that is in the working tree: before, while, after.

    Made from the plan and from what differs to --base: bottleneck, trigger, replicas, sizes, dangers, cost; autoscaler,
    StatefulSets, pooling, threads; load test, latency, rollback. The live stack ticks what it can; each other line has
    the command that does it. Changes nothing. Paste the Markdown into the pull request.

    [dim]headroom checklist --stack prod --context prod --base origin/main --format markdown[/dim]
    """
    file = project.stack_file(stack)
    where = None
    if not offline and (context or local.find(name) is not None):
        where, _ = target.resolve(context, name)
    made = lists.make(
        project.root(),
        stack,
        file,
        base=base,
        kubectl=where.kubectl if where else None,
        real_pods=where.real_pods if where else False,
        progress=ConsoleProgress(),
    )
    if format_ is Format.markdown:
        print(markdown(made))
        return
    _print(made)
    remind("\n".join(item.command for item in made.items if item.command and item.mark is not Mark.done))
    if made.unseen:
        out.print(f"[dim]{escape(made.unseen)}: name one with --context, or headroom local up[/dim]")


def markdown(made: Checklist) -> str:
    """A task list, as pull requests show it."""
    lines = [f"### Checklist: {prose(made.title)}"]
    for group in Group:
        lines += ["", f"**{group}**", ""]
        for item in made.of(group):
            tick = "x" if item.mark is Mark.done else " "
            failed = " **no:**" if item.mark is Mark.failed else ":" if item.evidence else ""
            line = f"- [{tick}] {prose(item.what)}{failed} {prose(item.evidence)}"
            lines.append(line + (f" ({code(item.command)})" if item.command and item.mark is not Mark.done else ""))
    return "\n".join(lines)


def _print(made: Checklist) -> None:
    out.print(f"[bold]{escape(made.title)}[/bold]")
    for group in Group:
        out.print(f" {group}")
        for item in made.of(group):
            out.print(f"  {MARKS[item.mark]}  {escape(item.what)}: {escape(item.evidence)}")
            if item.command and item.mark is not Mark.done:
                out.print(f"        [green]{escape(item.command)}[/green]")
    out.print(f"{len(made.items) - made.left} of {len(made.items)} done")
