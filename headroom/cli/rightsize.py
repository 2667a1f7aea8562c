"""`headroom rightsize`: requests and limits from what was used."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from headroom import project
from headroom.capacity.quantities import MI
from headroom.cli import acting, options, target
from headroom.cli.console import ConsoleProgress, err, out
from headroom.ops import draft
from headroom.ops import rightsize as sizing
from headroom.ops.rightsize import Proposal, Window
from headroom.progress import step

_span = options.seconds("1m", "90d")


def rightsize(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="The service's key in the stack file.")],
    stack: options.Stack = "local",
    window: Annotated[
        float,
        typer.Option("--window", parser=_span, metavar="TIME", help="How far to look back.", show_default="7d"),
    ] = 7.0 * 86400,
    least: Annotated[
        float,
        typer.Option(
            "--least", parser=_span, metavar="TIME", help="Refuse when there is less data than this.", show_default="1d"
        ),
    ] = 86400.0,
    write: Annotated[bool, typer.Option("--write", help="Change the stack file; comments stay.")] = False,
    allow_dirty: acting.AllowDirty = False,
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
) -> None:
    """Size a service from what its pods used: requests at P95, limits at P99, with what that costs.

    Reads the cluster's Prometheus (cAdvisor's series) and prints the edit of the stack file; changes nothing without
    --write, and then the stack file alone: look with headroom diff, deploy with headroom up. Refuses with too little
    data. A memory limit is never under the peak that was seen.

    [dim]headroom rightsize inference --stack prod --context prod --window 14d[/dim]
    """
    looked = Window(int(window), int(least))
    file = config or project.stack_file(stack)
    sizing.check(stack, file, service)
    where, _ = target.resolve(context, name)
    if write and not allow_dirty:
        draft.refuse_if_in_the_way(file)
    with step(ConsoleProgress(), f"asking Prometheus for the use of {service} in the last {sizing.in_words(window)}"):
        found = sizing.propose(where.kubectl, stack, file, service, looked)
    _print(found)
    if found.nothing:
        out.print(f"nothing to change: {file.name} says so already")
        return
    for line in found.diff():
        colour = {"+": "green", "-": "red"}.get(line[:1], "")
        out.print(f"[{colour}]{escape(line)}[/{colour}]" if colour else escape(line))
    for words, before, after in found.bill():
        out.print(f"${before:,.2f} → ${after:,.2f} a month {words} ({after - before:+,.2f})")
    err.print("rpsPerPod was measured with the pods of before: measure it again with headroom load")
    if not write:
        out.print(f"nothing was changed; with --write it goes into {file.name}")
        return
    with found.draft.writing() as commit:
        commit()
    out.print(f"{file.name} is changed; next: headroom diff --stack {stack}, headroom up --stack {stack}")


def _print(found: Proposal) -> None:
    used, now, new = found.use, found.now, found.sizes
    out.print(f"{escape(found.service)}: {used.pods} pods, {used.seconds / 3600:,.1f} hours of use; the busiest pod:")
    table = Table(box=None, padding=(0, 2, 0, 2))
    for heading in ("", "used", "now", "proposed"):
        table.add_column(heading, no_wrap=True)
    table.add_row("cpu request", f"P95 {used.cpu_p95 * 1000:,.0f}m", now.cpu_request, new.cpu_request)
    table.add_row("cpu limit", f"P99 {used.cpu_p99 * 1000:,.0f}m", now.cpu_limit, new.cpu_limit)
    table.add_row("memory request", f"P95 {used.memory_p95 / MI:,.0f}Mi", now.memory_request, new.memory_request)
    peak = f"P99 {used.memory_p99 / MI:,.0f}Mi, peak {used.memory_peak / MI:,.0f}Mi"
    table.add_row("memory limit", peak, now.memory_limit, new.memory_limit)
    out.print(table)
