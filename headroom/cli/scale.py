"""`headroom scale`: pods of a service, now and for the next `up` too."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from headroom.capacity import quantities
from headroom.cli import acting, options
from headroom.cli.console import ConsoleProgress, here, out
from headroom.errors import InputError
from headroom.ops.scale import bounds, run
from headroom.ops.scale import gradual as by_steps
from headroom.ops.scale.run import Ask, Proposal

MOST_PODS = 100_000
"""As in a stack file."""


def scale(
    service: Annotated[str, typer.Argument(help="A service of the stack, or pgbouncer.", show_default=False)],
    to: Annotated[
        int | None,
        typer.Option("--to", metavar="N", max=MOST_PODS, help="Pods to hold it at, at least.", show_default=False),
    ] = None,
    because: acting.Because = "",
    cpu: Annotated[
        str | None,
        typer.Option(
            parser=options.quantity(quantities.cores),
            metavar="CORES",
            help="CPU request of each pod, for example 2 or 500m; rolls them.",
            show_default=False,
        ),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(
            parser=options.quantity(quantities.octets),
            metavar="SIZE",
            help="Memory request of each pod, for example 2Gi; rolls them.",
            show_default=False,
        ),
    ] = None,
    restore: Annotated[bool, typer.Option("--restore", help="Take back what scale wrote: the plan again.")] = False,
    gradual: Annotated[
        bool,
        typer.Option(
            "--gradual",
            help="In steps of a quarter, watching errors and p99; stops when they rise or fall silent.",
        ),
    ] = False,
    wait: Annotated[
        float | None,
        typer.Option(
            parser=options.seconds("0s", "1h"),
            metavar="TIME",
            help="After each step of --gradual, for example 60s.",
            show_default="up 30s; down the service's drain time",
        ),
    ] = None,
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    dry_run: acting.DryRun = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Go on where the nodes have no room now, because more come by themselves."),
    ] = False,
    allow_dirty: acting.AllowDirty = False,
    yes: acting.Yes = False,
) -> None:
    """Hold a service at N pods now, and record it in the stack file, so that the next `up` keeps it.

    Minimum and maximum of the autoscaler together: headroom scale inference --to 30 --because "launch day"

    In steps, watched: headroom scale inference --to 8 --because "after it" --gradual

    Larger pods, threads and cache follow: headroom scale inference --cpu 2 --because "thread pool full"

    Back to the plan: headroom scale inference --restore

    Checked first: the plan with N (connections to PgBouncer and PostgreSQL, declared nodes), the live nodes, quotas,
    and the API server by a dry run. What does not fit is refused with the reason, and nothing is changed.

    A jump of more than 2x warns and goes on. In prod, and on a cluster named with --context, it asks first.
    """
    _check(to, because, cpu, memory, restore, gradual)
    progress = ConsoleProgress()
    request = acting.request(stack, config, context, name, service=service, also=bounds.POOLER)
    ask = Ask(service, to, because, cpu, memory, restore, force, allow_dirty)
    proposal = run.propose(request, ask, progress)
    if proposal.nothing:
        out.print(f"nothing to change: {escape(service)} is held at {proposal.target} pods or more already")
        if proposal.live.ready < proposal.live.replicas and not dry_run:  # a run before was stopped as it waited
            done = run.wait(request, proposal, progress)
            out.print(f"{escape(service)}: {done.ready} pods ready after {done.seconds:.0f} s")
        return
    acting.say(_lines(proposal), proposal.warnings)
    if dry_run:
        acting.say(proposal.delta.lines())
    question, environment = f"scale {service}?", proposal.after.environment
    if not acting.agreed(request, question, environment=environment, dry_run=dry_run, yes=yes):
        return
    carry_out = by_steps.carry_out if gradual else run.carry_out
    extra = {"wait": wait} if gradual and wait is not None else {}
    done = carry_out(request, proposal, progress, **extra)
    out.print(f"{escape(service)}: {done.ready} pods ready after {done.seconds:.0f} s; {request.file.name} says so too")
    if not restore:
        out.print(f"back to the plan: headroom scale {escape(service)} --restore{escape(here())}")


def _check(to: int | None, because: str, cpu: str | None, memory: str | None, restore: bool, gradual: bool) -> None:
    if to is not None:
        bounds.counted(to)
    if restore and (to is not None or cpu or memory):
        raise InputError("--restore takes back; --to, --cpu and --memory ask for something new", fix="give one of them")
    if not restore and to is None and not cpu and not memory:
        raise InputError("scale to what?", fix='--to N, --cpu or --memory with --because "…"; or --restore')
    if not restore and not because.strip():
        raise InputError("an override needs a reason", fix='add --because "…", for whoever reads the plan')
    if gradual and (cpu or memory):
        raise InputError("larger pods come by a rolling update, which is gradual by itself", fix="leave --gradual away")


def _lines(proposal: Proposal) -> list[str]:
    live, plan = proposal.live, proposal.service
    lines = []
    if plan is not None:
        least, most = plan.min_replicas.value, plan.max_replicas.value
        if live.least is not None:
            lines.append(f"{live.name}: minimum {live.least} → {least}, maximum {live.most} → {most}")
        else:
            lines.append(f"{live.name}: no autoscaler is live; minimum {least}, maximum {most}")
        size = plan.resources
        if proposal.ask.cpu or proposal.ask.memory:
            cache = f", cache {plan.cache_capacity.value:,} entries" if plan.cache_capacity else ""
            threads = f", {plan.worker_threads.value} worker threads" if plan.worker_threads else ""
            lines.append(
                f"each pod: cpu {size.cpu_request.value} (limit {size.cpu_limit.value}), memory "
                f"{size.memory_request.value} (limit {size.memory_limit.value}){threads}{cache}"
            )
    lines.append(f"now {live.replicas} pods, {live.ready} ready")
    if proposal.ask.restore:
        lines += [f"taken back: {k} {v['value']}, because: {v['because']}" for k, v in proposal.held.items()]
    cost = proposal.after.monthly_cost_at_min
    lines.append(f"the stack costs {cost.value:,} USD a month at minimum replicas then")
    return lines
