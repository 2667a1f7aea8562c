"""`headroom plan`: demand to plan, nothing else."""

from __future__ import annotations

import json
from enum import StrEnum
from itertools import groupby
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from headroom import project
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.capacity.plan.model import Line, Plan
from headroom.cli import options
from headroom.cli.console import err, out
from headroom.errors import InputError


class Format(StrEnum):
    table = "table"
    json = "json"
    markdown = "markdown"


def plan(
    context: typer.Context,
    stack: options.Stack = "local",
    config: options.ConfigFile = None,
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.table,
    in_: Annotated[
        str, typer.Option("--in", metavar="MONTHS", help="Plan for the demand in that time, e.g. 12mo, by each growth.")
    ] = "0mo",
) -> None:
    """Compute every size of a stack, with the formula and the constraint behind each.

    Needs no cluster, no Pulumi CLI and no secrets. A plan that cannot work exits 2 and says what to change.
    """
    stack = options.named(context, stack, config)
    file = config or project.stack_file(stack)
    made = plans.make(demands.load(stack, file), months=_ahead(in_))
    match format_:
        case Format.json:
            print(json.dumps(as_json(made), indent=2, ensure_ascii=False))
        case Format.markdown:
            print(as_markdown(made))
        case Format.table:
            with out.capture() as captured:
                out.print(as_table(made))
            print("\n".join(line.rstrip() for line in captured.get().splitlines()))
            for caution in made.warnings:
                err.print(f"[yellow]warning:[/yellow] {escape(caution.component)}: {escape(caution.message)}")


def _ahead(given: str) -> int:
    try:
        return demands.months(given)
    except InputError as error:
        raise InputError(f"--in {error.message}", fix=error.fix) from error


def as_json(made: Plan) -> dict[str, object]:
    """The stable JSON form: stack, lines (component, setting, value, unit, because, boundBy), warnings."""
    return {
        "stack": made.stack,
        "lines": [
            {
                "component": line.component,
                "setting": line.setting,
                "value": line.value,
                "unit": line.unit,
                "because": line.because,
                "boundBy": line.bound_by,
            }
            for line in made.lines
        ],
        "warnings": [{"component": w.component, "message": w.message} for w in made.warnings],
    }


def as_table(made: Plan) -> Table:
    """A heading a component, then a row a setting: its value, what bound it, and the formula."""
    table = Table(
        title=f"plan of {escape(made.stack)}", title_justify="left", title_style="bold", box=None, show_header=False
    )
    table.add_column("setting", no_wrap=True)
    table.add_column("value", justify="right", no_wrap=True)
    table.add_column("because", overflow="fold", ratio=1)
    for component, lines in groupby(made.lines, key=lambda line: line.component):
        table.add_row(f"[bold cyan]{escape(component)}[/bold cyan]")
        for line in lines:
            table.add_row(
                f"  {escape(line.setting)}",
                f"[bold]{escape(_value(line))}[/bold]",
                f"{escape(line.because)} [dim]← {escape(line.bound_by)}[/dim]",
            )
    return table


def as_markdown(made: Plan) -> str:
    """The same as a GitHub table, for a pull request or a wiki page."""
    rows = [
        f"## Plan of {_cell(made.stack)}",
        "",
        "| component | setting | value | bound by | because |",
        "|---|---|---|---|---|",
    ]
    rows += [
        "| " + " | ".join(_cell(text) for text in (x.component, x.setting, _value(x), x.bound_by, x.because)) + " |"
        for x in made.lines
    ]
    rows += ["", *(f"- **warning** {_cell(w.component)}: {_cell(w.message)}" for w in made.warnings)]
    return "\n".join(rows).rstrip()


def _value(line: Line) -> str:
    number = f"{line.value:,}" if isinstance(line.value, int | float) else line.value
    return f"{number} {line.unit}".rstrip()


def _cell(text: str) -> str:
    """Text that cannot leave its table cell or become markup."""
    return "".join("\\" + c if c in "\\|`*_[]<>@#" else c for c in text).replace("\n", " ")
