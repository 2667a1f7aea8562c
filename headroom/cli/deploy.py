"""`headroom preview`, `up` and `down`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from headroom import local, project
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.cli import acting, options
from headroom.cli.console import ConsoleProgress, confirm, err, here, out, remind
from headroom.cli.diff import say_dangers
from headroom.engine import select
from headroom.engine.model import Action, Change, Changes, Deployment, Engine
from headroom.ops import deploy, history, reshard
from headroom.ops.diff import edit, words
from headroom.progress import step

STYLE: dict[Action, str] = {
    "create": "green",
    "update": "yellow",
    "replace": "bold red",
    "delete": "red",
    "unchanged": "dim",
    "refused": "bold red",
}
SHOWN_FIELDS = 8
SHOWN_CHARACTERS = 60
CONTEXT_CHARACTERS = 15
MOST_CREATED = 20
EXPLAINING = ("headroom.dev/because", "headroom.dev/public-because")
"""Annotations that say why: they follow another field, which is shown."""

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before changing a cluster named with --context.")]


def preview(
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
) -> None:
    """Show what `up` would do to each object. Touches nothing."""
    progress = ConsoleProgress()
    request = _request(stack, config, context, name)
    engine = select.choose(request.target, progress)
    _preview(request, deploy.prepare(request, progress), engine, progress)


def up(
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    yes: Yes = False,
) -> None:
    """Make the cluster as the stack file says, in the program's order, and wait until it runs.

    Stopped with Ctrl-C, the same command goes on from there. A second run changes nothing.
    """
    progress = ConsoleProgress()
    request = _request(stack, config, context, name)
    engine = select.choose(request.target, progress)
    deployment = deploy.prepare(request, progress)
    if request.cluster is None and not yes:
        _preview(request, deployment, engine, progress)
        confirm(f"deploy stack {stack}?", where=f" on {request.target.title}")
    plan = request.plan()
    text, deployed = (
        file.read_text(encoding="utf-8") for file in (request.file, deployment.config_file or request.file)
    )
    try:
        with history.deploying(request.target.kubectl, stack, plan.namespace, "up", text=text, deployed=deployed):
            result = engine.up(deployment, progress)
    except KeyboardInterrupt:
        err.print(f"back to the last deployment that got ready, if there is one: headroom rollback{escape(here())}")
        raise
    show(result.changes, unchanged=False, most_created=MOST_CREATED)
    for kept in result.kept:
        err.print(f"[dim]kept, it holds data:[/dim] {escape(kept)}")
    out.print(f"stack {stack} is up on {escape(request.target.title)} after {result.seconds:.0f} s")
    if not request.target.real_pods:
        out.print("[yellow]its nodes are fake: pods are objects only, no software runs in them[/yellow]")
    elif request.cluster is not None:
        keys = {service.key for service in plan.services}
        for service in local.status(name).services:
            if service.name in keys and service.reach:
                out.print(f"call {service.name}: curl http://{service.reach}/health/ready")


def down(
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    delete_data: Annotated[
        str | None,
        typer.Option(
            metavar="NAMESPACE",
            help="Delete namespaces and volume claims too, with all data. Takes the namespace's name, typed out.",
            show_default=False,
        ),
    ] = None,
    yes: Yes = False,
) -> None:
    """Delete a stack, last first. Namespaces and volume claims stay unless --delete-data names the namespace."""
    progress = ConsoleProgress()
    request = acting.request(stack, config, context, name)
    engine = select.choose(request.target, progress)
    if request.cluster is None and not yes:
        confirm(
            f"delete stack {stack}{' and all its data' if delete_data else ''}?", where=f" on {request.target.title}"
        )
    result = engine.down(deploy.bare(request), progress, delete_data=delete_data)
    history.forget(request.target.kubectl, result.namespace)
    show(result.changes)
    for kept in result.kept:
        out.print(f"kept, it holds data: {escape(kept)}")
    if result.kept:
        command = f"headroom down --stack {stack} --delete-data {result.namespace}"
        out.print(f"delete the data too: {escape(command)}")
        remind(command)


def _request(stack: str, config: Path | None, context: str | None, name: str) -> deploy.Request:
    """The stack, its file and the cluster. A stack that cannot work is refused before the cluster is looked for."""
    plans.make(demands.load(stack, config or project.stack_file(stack)))
    return acting.request(stack, config, context, name)


def show(changes: Changes, *, unchanged: bool = True, most_created: int | None = None) -> None:
    """One line an object, its changed fields below, a count at the end.

    More than `most_created` new objects are counted by kind instead: the first `up` of a stack has nothing to compare.
    """
    created = changes.of("create")
    brief = most_created is not None and len(created) > most_created
    for change in changes.items:
        if change.action != "unchanged" and not (brief and change.action == "create"):
            _say(change)
    if brief:
        kinds = Counter(change.kind for change in created)
        listed = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
        out.print(f"[{STYLE['create']}]create   [/{STYLE['create']}] {escape(listed)}")
    for warning in changes.warnings:
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}")
    counted = ", ".join(f"{n} {action}" for action, n in changes.count().items() if unchanged or action != "unchanged")
    out.print(counted or "nothing to change")


def _preview(request: deploy.Request, deployment: Deployment, engine: Engine, progress: ConsoleProgress) -> None:
    """What happens to each object, what the edit costs and what is dangerous in it, and which buckets move."""
    changes = engine.preview(deployment, progress)
    show(changes)
    if any(change.action != "unchanged" for change in changes.items):
        _edit(request, deployment, progress)
    _moves(request)


def _edit(request: deploy.Request, deployment: Deployment, progress: ConsoleProgress) -> None:
    """Costs and dangers, against the stack file that was deployed last; nothing where none is known."""
    last = history.current(history.read(request.target.kubectl, request.plan().namespace))
    if last is None:
        return
    with step(progress, f"comparing with revision {last.number}, the last that was deployed"):
        found = edit.of_file(deployment.project, request.stack, last.deployed, deployment.config_file or request.file)
    if found.changed and (bill := words.cost(found)):
        out.print(escape(bill))
    say_dangers(found)


def _moves(request: deploy.Request) -> None:
    """Say which buckets move, where some do."""
    plan = request.plan().postgres
    if plan is None or not request.target.real_pods:
        return
    if seen := reshard.foresee(request.target.kubectl, plan):
        for line in reshard.in_words(seen):
            out.print(f"[yellow]{escape(line)}[/yellow]")


def _say(change: Change) -> None:
    where = f"{change.namespace}/{change.name}" if change.namespace else change.name
    style = STYLE[change.action]
    out.print(f"[{style}]{change.action:9}[/{style}] {escape(change.kind)} {escape(where)}")
    if change.reason:
        out.print(f"          {escape(change.reason)}")
    if change.action == "update" and words.rolls(change.kind, (field.path for field in change.fields)):
        out.print(f"          {words.ROLLS}")
    fields = [f for f in change.fields if not any(name in f.path for name in EXPLAINING)] or change.fields
    for field in fields[:SHOWN_FIELDS]:
        hidden = field.before is None and field.after is None
        values = "" if hidden else ": {} → {}".format(*_short(field.before, field.after))
        out.print(f"          [dim]{escape(field.path + values)}[/dim]")
    if len(fields) > SHOWN_FIELDS:
        out.print(f"          [dim]… and {len(fields) - SHOWN_FIELDS} more[/dim]")


def _short(before: object, after: object) -> tuple[str, str]:
    """Both sides in a few characters each, from a little before where they differ."""
    texts = ["(none)" if value is None else " ".join(str(value).split()) for value in (before, after)]
    if max(map(len, texts)) <= SHOWN_CHARACTERS:
        return texts[0], texts[1]
    alike = next((n for n, (one, other) in enumerate(zip(*texts, strict=False)) if one != other), min(map(len, texts)))
    begin = max(0, alike - CONTEXT_CHARACTERS)
    cut = [("…" if begin and text != "(none)" else "") + text[begin:] for text in texts]
    short = [text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…" for text in cut]
    return short[0], short[1]
