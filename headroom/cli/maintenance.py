"""`headroom maintenance`: services down, and back."""

from __future__ import annotations

from typing import Annotated

import typer

from headroom.cli import acting, options
from headroom.cli.console import ConsoleProgress, out
from headroom.ops import maintenance
from headroom.ops.deploy import Request

app = typer.Typer(
    help="Take services without state down for a while, and bring them back. Data is not touched.\n\n"
    "`on` writes `maintenance: true` into the stack file, stops every pod after it has finished its requests, and "
    "keeps the autoscaler from starting new ones; `up` keeps it so. `off` takes the line out and waits for the pods.",
    no_args_is_help=True,
)

Service = Annotated[str | None, typer.Argument(help="One service; without it all of the stack.", show_default=False)]
YesProd = Annotated[
    bool,
    typer.Option(
        "--yes-prod", help="In prod too. Its stack file cannot hold maintenance: the next `up` ends it by itself."
    ),
]


@app.command()
def on(
    service: Service = None,
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    dry_run: acting.DryRun = False,
    allow_dirty: acting.AllowDirty = False,
    yes_prod: YesProd = False,
    yes: acting.Yes = False,
) -> None:
    """No pods from now on, until `off`. Refused in prod without --yes-prod."""
    progress = ConsoleProgress()
    request = acting.request(stack, config, context, name, service=service)
    change = maintenance.propose(request, service, progress, on=True, yes_prod=yes_prod, allow_dirty=allow_dirty)
    _go(request, change, progress, dry_run=dry_run, yes=yes or yes_prod)


@app.command()
def off(
    service: Service = None,
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    dry_run: acting.DryRun = False,
    allow_dirty: acting.AllowDirty = False,
    yes: acting.Yes = False,
) -> None:
    """The planned pods again, at once."""
    progress = ConsoleProgress()
    request = acting.request(stack, config, context, name, service=service)
    change = maintenance.propose(request, service, progress, on=False, allow_dirty=allow_dirty)
    _go(request, change, progress, dry_run=dry_run, yes=yes)


def _go(request: Request, change: maintenance.Change, progress: ConsoleProgress, *, dry_run: bool, yes: bool) -> None:
    word = "down" if change.on else "up"
    if change.nothing:
        out.print(f"nothing to change: {', '.join(change.services)} {word} already")
        return
    acting.say(change.delta.lines())
    question, environment = f"take {', '.join(change.services)} {word}?", change.plan.environment
    if not acting.agreed(request, question, environment=environment, dry_run=dry_run, yes=yes):
        return
    seconds = maintenance.carry_out(request, change, progress)
    out.print(f"{', '.join(change.services)}: {word} after {seconds:.0f} s")
    if change.on and change.draft.before == change.draft.after:
        out.print("the stack file of prod does not say so: the next `headroom up` ends it, as does maintenance off")
