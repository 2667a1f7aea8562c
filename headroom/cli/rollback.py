"""`headroom rollback`: the last deployment that got ready."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from headroom.cli import acting, deploy, options
from headroom.cli.console import ConsoleProgress, err, out
from headroom.engine import select
from headroom.ops import draft as drafts
from headroom.ops import history, undo
from headroom.ops import rollback as back
from headroom.ops.deploy import Request
from headroom.ops.rollback import Point


def rollback(
    service: Annotated[
        str | None, typer.Argument(help="One service; without it the whole stack.", show_default=False)
    ] = None,
    to: Annotated[
        int | None,
        typer.Option("--to", metavar="REVISION", min=1, help="Another revision of --list.", show_default=False),
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="The revisions that are kept, and stop.")] = False,
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    dry_run: acting.DryRun = False,
    allow_dirty: acting.AllowDirty = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask after the preview.")] = False,
) -> None:
    """Go back to the last deployment that got ready: a preview, a question, then the cluster and the stack file.

    One service: headroom rollback inference

    The whole stack: headroom rollback --stack prod --context prod

    Every `up`, `scale --cpu`, `canary promote` and `rollback` is a revision, kept on the cluster with its stack file;
    those that never got ready are passed over. The stack file is set back too, so that the next `up` does not bring the
    broken one again. Where none is recorded (a bare `pulumi up`) a service goes back by its Deployment's revisions.

    Data does not go back: schemas and contents of the stores stay as they are.
    """
    progress = ConsoleProgress()
    request = acting.request(stack, config, context, name, service=service)
    if list_:
        _list(history.read(request.target.kubectl, back.namespace(request)))
        return
    if service is not None and to is None and not history.read(request.target.kubectl, back.namespace(request)):
        _undo(request, service, progress, dry_run=dry_run, yes=yes, allow_dirty=allow_dirty)
        return
    point = back.find(request, service, to)
    if not allow_dirty:
        back.refuse_if_edited(request, point)
    out.print(f"revision {point.current.number} ({point.current.state}) → {_said(point)}")
    if service is not None:
        change = back.preview_service(request, point, service, progress)
        acting.say(change.delta.lines())
        if acting.ask(f"roll {service} back?", dry_run=dry_run, yes=yes):
            _done(service, back.one_service(request, point, change, progress), request.file.name)
        return
    engine = select.choose(request.target, progress)
    with back.deployment(request, point) as what:
        deploy.show(engine.preview(what, progress), unchanged=False)
        if acting.ask(f"roll stack {stack} back?", dry_run=dry_run, yes=yes):
            _done(f"stack {stack}", back.stack(request, point, what, engine, progress), request.file.name)


def _undo(
    request: Request, service: str, progress: ConsoleProgress, *, dry_run: bool, yes: bool, allow_dirty: bool
) -> None:
    """Nothing is recorded: Kubernetes' own former pods."""
    if not allow_dirty:
        drafts.refuse_if_in_the_way(request.file)
    found = undo.find(request, service)
    out.print(f"no deployment is recorded; the Deployment's own revision {found.current} → {found.revision}")
    acting.say([f"image {found.images[0]} → {found.images[1]}"])
    if not found.recorded:
        err.print(
            f"[yellow]warning:[/yellow] {request.file.name} cannot say so: the next up brings the newer pods again"
        )
    if acting.ask(f"roll {service} back?", dry_run=dry_run, yes=yes):
        seconds = undo.carry_out(request, found, progress)
        out.print(f"{escape(service)} is back and ready after {seconds:.0f} s")


def _said(point: Point) -> str:
    target = point.target
    return f"revision {target.number} of {target.at}, made by {target.what} ({target.state})"


def _done(what: str, seconds: float, file: str) -> None:
    out.print(f"{escape(what)} is back and ready after {seconds:.0f} s; {escape(file)} says so too")


def _list(revisions: tuple[history.Revision, ...]) -> None:
    for r in revisions:
        out.print(f"{r.number:4}  {r.at}  {r.what:16}  {r.state}")
    if not revisions:
        out.print("no deployment is recorded: `headroom up` records each")
