"""`headroom verify`: the runbook's checks, one line each."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from headroom import project
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.cli import options, target
from headroom.cli.console import out
from headroom.ops import verify as checks
from headroom.ops.verify import Finding, Verdict


class Format(StrEnum):
    table = "table"
    json = "json"


MARKS = {
    Verdict.passed: "[green]pass[/green]",
    Verdict.failed: "[red]FAIL[/red]",
    Verdict.skipped: "[yellow]skip[/yellow]",
}


def verify(
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.table,
) -> None:
    """Check a live stack against its plan. Exit 1 if a check fails; each failure comes with the command that helps."""
    plan = plans.make(demands.load(stack, config or project.stack_file(stack)))
    where, _ = target.resolve(context, name)
    found = []
    for finding in checks.run(checks.Scene(plan, where.kubectl, where.real_pods)):
        found.append(finding)
        if format_ is Format.table:
            _say(finding)
    failed = sum(f.verdict is Verdict.failed for f in found)
    if format_ is Format.json:
        print(json.dumps([{**f.__dict__} for f in found], indent=2))
    else:
        skipped = sum(f.verdict is Verdict.skipped for f in found)
        out.print(f"{len(found) - failed - skipped} passed, {failed} failed, {skipped} skipped on {where.title}")
    if failed:
        raise typer.Exit(1)


def _say(finding: Finding) -> None:
    out.print(
        f"{MARKS[finding.verdict]}  {escape(finding.component)}  {escape(finding.check)}: {escape(finding.evidence)}"
    )
    if finding.fix:
        out.print(f"      [green]fix:[/green] {escape(finding.fix)}")
