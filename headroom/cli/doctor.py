"""`headroom doctor`: what is wrong, why, the evidence, and the command that mends it."""

from __future__ import annotations

import json
from dataclasses import asdict
from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from headroom import project
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.capacity.parts import PARTS
from headroom.cli import options, target
from headroom.cli.console import ConsoleProgress, out, remind
from headroom.ops import doctor as clinic
from headroom.ops.doctor import Diagnosis, Finding, Severity
from headroom.progress import step

RUNBOOK = "docs/runbook.md"


class Format(StrEnum):
    table = "table"
    json = "json"


COLOURS = {Severity.error: "red", Severity.warning: "yellow", Severity.note: "blue"}


def doctor(
    service: Annotated[
        str | None,
        typer.Argument(help=f"A service, or {', '.join(PARTS)}.", show_default="all"),
    ] = None,
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.table,
) -> None:
    """Find what is wrong with a live stack, and explain it: evidence, cause, and the command that mends it.

    Looks once (about ten seconds), changes nothing, and prints no secret. Each finding names its section of
    docs/runbook.md. Exit 1 if a finding is an error; a stack that is well gives none.

    [dim]headroom doctor --stack prod --context prod          everything[/dim]
    [dim]headroom doctor inference --stack prod --context prod  one service[/dim]
    """
    demand = demands.load(stack, config or project.stack_file(stack))
    plan = plans.make(demand)
    clinic.check(plan, service)
    where, _ = target.resolve(context, name)
    with step(ConsoleProgress(), f"looking at stack {stack} on {where.title}"):
        found = clinic.examine(where.kubectl, plan, demand, real_pods=where.real_pods, component=service)
    if format_ is Format.json:
        print(json.dumps(_document(stack, found), indent=2, ensure_ascii=False))
    else:
        _print(found)
    if found.failed:
        raise typer.Exit(1)


def _document(stack: str, found: Diagnosis) -> dict[str, object]:
    return {
        "stack": stack,
        "findings": [{**asdict(f), "runbook": f"{RUNBOOK}#{f.anchor}"} for f in found.findings],
        "notLookedAt": [asdict(u) for u in found.unseen],
    }


def _print(found: Diagnosis) -> None:
    for finding in found.findings:
        _say(finding)
    counts = [
        f"{n} {severity}{'' if n == 1 else 's'}"
        for severity in Severity
        if (n := sum(f.severity is severity for f in found.findings))
    ]
    well = all(f.severity is Severity.note for f in found.findings)
    out.print(", ".join((["[green]nothing is wrong[/green]"] if well else []) + counts))
    remind("\n".join(finding.fix for finding in found.findings))
    for unseen in found.unseen:
        out.print(f"[dim]not looked at: {escape(unseen.what)} ({escape(unseen.why)})[/dim]")


def _say(finding: Finding) -> None:
    colour = COLOURS[finding.severity]
    out.print(
        f"[{colour}]{finding.severity}[/{colour}]  [bold]{escape(finding.component)}[/bold]  "
        f"{escape(finding.subject)} {escape(finding.symptom)}"
    )
    for line in finding.evidence:
        if line:
            out.print(f"    [dim]{escape(line)}[/dim]")
    out.print(f"    because {escape(finding.because)}")
    out.print(f"    [green]fix:[/green] {escape(finding.fix)}")
    out.print(f"    more: {RUNBOOK}#{finding.anchor}")
