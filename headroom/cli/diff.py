"""`headroom diff`: what an edit will do, why, what it costs and what is dangerous."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table

from headroom import project
from headroom.cli.console import ConsoleProgress, err, out
from headroom.errors import InputError
from headroom.ops.diff import words
from headroom.ops.diff.model import Report, StackDiff
from headroom.ops.diff.report import markdown
from headroom.ops.diff.run import run


class Format(StrEnum):
    table = "table"
    markdown = "markdown"


def diff(
    base: Annotated[
        str | None,
        typer.Option(
            "--base",
            metavar="REF",
            help="The revision to compare with.",
            show_default="where this left main",
        ),
    ] = None,
    stack: Annotated[
        str | None,
        typer.Option(
            "--stack",
            "-s",
            help="One stack.",
            show_default="all",
            autocompletion=lambda: project.stack_names(),  # noqa: PLW0108  typer passes arguments by name
        ),
    ] = None,
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.table,
) -> None:
    """Compare the plan and the objects of two git revisions: what changes, why, what it costs, what is dangerous.

    The base revision is compared with the working tree, each by its own code. Needs no cluster, no Pulumi CLI and no
    secrets, and shows none. Exits 2 when a stack cannot be compared; the others are still shown.
    """
    report = run(project.root(), base=base, stack=stack, progress=ConsoleProgress())
    if format_ is Format.markdown:
        print(markdown(report), end="")
    else:
        _print(report)
    if report.failed:
        raise typer.Exit(InputError.exit_code)


def _print(report: Report) -> None:
    for problem in report.problems:
        err.print(f"[red]error:[/red] {escape(problem)}")
    for found in report.stacks:
        _print_stack(found)
    if report.stacks:
        err.print(f"[dim]{escape(report.base)} → {escape(report.head)}[/dim]")


def _print_stack(found: StackDiff) -> None:
    colour = "red" if found.dangers or found.problems else "green"
    out.print(f"[bold]{escape(found.stack)}[/bold] [{colour}]{escape(words.verdict(found))}[/{colour}]")
    if bill := words.cost(found):
        out.print(f"  {escape(bill)}")
    for problem in found.problems:
        out.print(f"  [red]{escape(problem)}[/red]")
    if found.settings:
        table = _settings(found)
        # Rich would fold cells into a narrow log; whole lines can be searched and copied.
        width = Measurement.get(out, out.options.update(max_width=1000), table).maximum
        Console(file=out.file, width=width, highlight=False).print(table)
    say_dangers(found)
    for component, message in found.warnings:
        out.print(f"  [yellow]warning[/yellow] {escape(component)}: {escape(message)}")
    for change in found.objects:
        told = words.object_change(change)
        text = f"{change.object.title}: {told}" if told and change.operation != "note" else change.object.title
        out.print(f"  [cyan]{words.OPERATIONS[change.operation]}[/cyan] {escape(text)}")
    out.print()


def say_dangers(found: StackDiff) -> None:
    """What nobody must miss, a line each."""
    for danger in found.dangers:
        out.print(f"  [red]{danger.kind}[/red] [bold]{escape(danger.subject)}[/bold] {escape(danger.words)}")


def _settings(found: StackDiff) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 2))
    for heading in ("setting", "before → after", "bound by", "p99", "$/month"):
        table.add_column(heading, no_wrap=True)
    told: set[str] = set()
    for change in found.settings:
        name, both = words.setting(change)
        first = change.component not in told
        told.add(change.component)
        p99 = words.of_component(found, change.component, words.P99) if first else ""
        money = words.bill(found, change.component) if first else ""
        table.add_row(*(escape(cell) for cell in (name, both, words.bound(change), p99, money)))
    return table
