"""`headroom canary`: a new image on a few pods first."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError
from rich.markup import escape

from headroom.capacity.demand.fields import Image
from headroom.cli import acting, options
from headroom.cli.console import ConsoleProgress, here, out
from headroom.errors import EnvironmentFailure
from headroom.ops.canary import run, verdict

app = typer.Typer(
    help="Try a new image on a share of a service's pods before all of them get it.\n\n"
    "`start` puts it behind the same Service, compares error rate and p99 with the stable pods, and aborts by itself "
    "when it is worse. `promote` gives it to all pods, `abort` takes it away. Prometheus is asked where there is one, "
    "else the pods' own metrics.",
    no_args_is_help=True,
)

Service = Annotated[str, typer.Argument(help="A service of the stack.", show_default=False)]


def _image(given: str) -> str:
    """The parser of --image, by the rule of a stack file."""
    try:
        return str(TypeAdapter(Image).validate_python(given))
    except ValidationError as error:
        raise typer.BadParameter(f"{given!r} {error.errors(include_url=False)[0]['ctx']['error']}") from None


@app.command()
def start(
    service: Service,
    image: Annotated[
        str,
        typer.Option(
            "--image",
            parser=_image,
            metavar="IMAGE",
            help="The image to try, with a tag or digest.",
            show_default=False,
        ),
    ],
    weight: Annotated[str, typer.Option("--weight", help="Share of the pods; at least one pod.")] = "10%",
    watch: Annotated[
        float,
        typer.Option(
            "--watch",
            parser=options.seconds("0s", "1d"),
            metavar="TIME",
            help="How long to compare before it is called well.",
            show_default="5m",
        ),
    ] = 300.0,
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    dry_run: acting.DryRun = False,
    allow_dirty: acting.AllowDirty = False,
    yes: acting.Yes = False,
) -> None:
    """Start a canary and watch it. Exit 1 when it was worse and has been taken away again.

    Worse is: an error rate above twice that of the stable pods and a point above it; a p99 above 1.5 times theirs and
    20 ms above it; pods that crash or do not get ready; a pod that hangs: no answer, or not ready any more, three looks
    in a row. With fewer than 50 requests on a side it says so and leaves the canary for you to judge. Ctrl-C leaves it
    too: the same command goes on watching, `abort` takes it away.

    When the cluster or Prometheus gives no answer three looks in a row, nothing can be said: exit 1, and the canary
    stays, as after Ctrl-C.
    """
    share = verdict.weight(weight)
    progress = ConsoleProgress()
    request = acting.request(stack, config, context, name, service=service)
    change = run.propose_start(request, service, image, share, progress, allow_dirty=allow_dirty)
    plan = change.service_plan
    if plan.canary is not None:
        out.print(escape(verdict.shares(plan.canary, max(change.live.replicas, plan.min_replicas.value))))
    acting.say(change.delta.lines())
    question, environment = f"start a canary of {service}?", change.plan.environment
    if not acting.agreed(request, question, environment=environment, dry_run=dry_run, yes=yes):
        return
    run.start(request, change, progress)
    found = run.watch(request, change, watch, progress)
    if found.word == "worse":
        run.abort(request, run.propose_abort(request, service, progress), progress)
        raise EnvironmentFailure(
            f"the canary was worse and is gone: {found.reason}",
            fix="mend the image, then start again; the stable pods were not touched",
        )
    out.print(f"{found.word}: {escape(found.reason)}")
    follow = f"headroom canary promote {service}{here()}, or headroom canary abort {service}{here()}"
    out.print(f"next: {escape(follow)}")


@app.command()
def promote(
    service: Service,
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    dry_run: acting.DryRun = False,
    allow_dirty: acting.AllowDirty = False,
    yes: acting.Yes = False,
) -> None:
    """Give the canary's image to all pods, by a rolling update, and take the canary away. `rollback` goes back."""
    progress = ConsoleProgress()
    request = acting.request(stack, config, context, name, service=service)
    change = run.propose_promote(request, service, progress, allow_dirty=allow_dirty)
    acting.say([f"image of {service}: {change.service_plan.image}", *change.delta.lines()])
    question, environment = f"promote the canary of {service}?", change.plan.environment
    if not acting.agreed(request, question, environment=environment, dry_run=dry_run, yes=yes):
        return
    seconds = run.promote(request, change, progress)
    out.print(f"{escape(service)}: all pods have the image after {seconds:.0f} s; {request.file.name} says so too")


@app.command()
def abort(
    service: Service,
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
) -> None:
    """Take the canary away, whatever state it is in. The stable pods are not touched. Never asks."""
    progress = ConsoleProgress()
    request = acting.request(stack, config, context, name, service=service)
    change = run.propose_abort(request, service, progress)
    if not change.delta.removed and change.draft.before == change.draft.after:
        out.print(f"nothing to change: {escape(service)} has no canary")
        return
    run.abort(request, change, progress)
    out.print(f"the canary of {escape(service)} is gone; {request.file.name} says so too")
