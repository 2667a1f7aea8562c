"""What the commands that act on a live stack share: their options, when they ask, and the words for what changes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from headroom import project
from headroom.capacity import demand as demands
from headroom.cli import target
from headroom.cli.console import confirm, err, on_stack, out
from headroom.ops import live_service
from headroom.ops.deploy import Request

Yes = Annotated[
    bool, typer.Option("--yes", "-y", help="Do not ask. Needed in prod and with --context where nobody is there.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check everything, show what would change, change nothing.")]
AllowDirty = Annotated[
    bool, typer.Option("--allow-dirty", help="Go on although the stack file has edits that are not committed to git.")
]
Because = Annotated[
    str, typer.Option("--because", help="Why, for whoever reads the stack file and the plan.", show_default=False)
]


def request(
    stack: str, config: Path | None, context: str | None, name: str, *, service: str | None = None, also: str = ""
) -> Request:
    """The stack, its file and the cluster that the options name.

    A `service` that the stack has not (nor `also`) is refused before the cluster is looked for.
    """
    file = config or project.stack_file(stack)
    if service is not None:
        live_service.known(demands.load(stack, file), service, *filter(None, [also]))
    where, cluster = target.resolve(context, name)
    on_stack(stack)
    return Request(stack, file, where, cluster)


def say(lines: Iterable[str], warnings: Iterable[str] = ()) -> None:
    """What will change, on stdout; what to mind, on stderr."""
    for line in lines:
        out.print(f"  {escape(line)}")
    for warning in warnings:
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}")


def agreed(request: Request, question: str, *, environment: str, dry_run: bool, yes: bool) -> bool:
    """Whether to go on: `ask` before a cluster of the user's or a prod stack is changed."""
    ours = request.cluster is not None and environment != "prod"
    return ask(question, dry_run=dry_run, yes=yes or ours, where=f" on {request.target.title}")


def ask(question: str, *, dry_run: bool, yes: bool, where: str = "") -> bool:
    """Whether to go on after what will change has been said: never in a dry run, else when it is confirmed."""
    if dry_run:
        out.print("a dry run: nothing was changed")
        return False
    if not yes:
        confirm(question, where=where)
    return True
