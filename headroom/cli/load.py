"""`headroom load`: how a live service holds up."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from enum import StrEnum
from math import isinf
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from headroom import project
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.capacity.plan.model import ServicePlan
from headroom.cli import options, target
from headroom.cli.console import ConsoleProgress, err, out
from headroom.errors import InputError
from headroom.ops import load as ops
from headroom.progress import step

FASTEST_RPS = 100_000


class Format(StrEnum):
    table = "table"
    json = "json"


_seconds = options.seconds("0s", "1h")


def load(
    service: Annotated[str, typer.Argument(metavar="SERVICE", help="The service's key in the stack file.")],
    stack: options.Stack = "local",
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="RPS", min=0.1, max=FASTEST_RPS, help="Send this many requests a second.", show_default=False
        ),
    ] = None,
    at_target: Annotated[
        bool,
        typer.Option("--at-target", help="Send what the stack demands (targetRps); exit 1 if its p99 is missed."),
    ] = False,
    duration: Annotated[
        float, typer.Option(parser=_seconds, metavar="TIME", help="How long each rate is measured.", show_default="30s")
    ] = 30.0,
    warm_up: Annotated[
        float,
        typer.Option(
            parser=_seconds,
            metavar="TIME",
            help="The same load before that, not counted; with --at-target long enough for the autoscaler to follow.",
            show_default="5s",
        ),
    ] = 5.0,
    url: Annotated[
        str | None,
        typer.Option(
            help="Where to send it (ingress, gateway). Without: the Service's own address.", show_default=False
        ),
    ] = None,
    path: Annotated[
        str | None,
        typer.Option(help="What to ask for: GET, or POST with --body. fastapi: /predict.", show_default=False),
    ] = None,
    body: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON bodies to POST in turn, one a line.", show_default=False)
    ] = None,
    entities: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Entities to predict for, one a line. Without: the sample's.", show_default=False
        ),
    ] = None,
    timeout: Annotated[
        float, typer.Option(parser=_seconds, metavar="TIME", help="When a request counts as lost.", show_default="10s")
    ] = 10.0,
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    format_: Annotated[Format, typer.Option("--format", "-f", help="How to print it.")] = Format.table,
    yes_prod: Annotated[bool, typer.Option("--yes-prod", help="Put this load on a stack of environment prod.")] = False,
) -> None:
    """Load a live service and tell its rate, p50, p95, p99 and errors.

    With [bold]--rate[/bold] at that rate; with [bold]--at-target[/bold] at what the stack file demands, exit 1 when its
    promise is not kept. With neither, the rate is stepped up until the p99 or the errors break, about two minutes, and
    what was found is printed as the [bold]profile[/bold] of a stack file: rpsPerPod, serviceTime, cpuTime.

    Requests begin on time whether or not earlier ones were answered (k6's constant arrival rate, spread by chance), so
    a slow service cannot hide its own latency. On the embedded cluster they go straight to the Service, or to one pod
    to find a profile; elsewhere to a LoadBalancer's address or to --url, never through a port-forward. Ctrl-C ends it
    at once.
    """
    if rate is not None and at_target:
        raise InputError("--rate and --at-target are two loads", fix="give one of them")
    file = config or project.stack_file(stack)
    asked = demands.load(stack, file)
    planned = ops.service_of(plans.make(asked), service)
    if asked.environment == "prod" and not yes_prod:
        raise InputError(
            f"stack {stack} is prod: this would put load on what people use", fix="measure staging, or add --yes-prod"
        )
    demand = asked.services[service].demand
    p99_ms = float(demand.latency.p99) * 1000 if demand is not None and demand.latency is not None else None
    if at_target:
        if demand is None or demand.target_rps is None:
            raise InputError(f"service {service} demands no targetRps", fix="add demand.targetRps, or give --rate")
        rate = float(demand.target_rps)
    shape = ops.requests(planned, path=path, body=body, entities=entities, timeout_s=timeout)
    where = target.resolve(context, name)[0] if url is None or context is not None else None
    place = ops.place(where, planned, url, one_pod=rate is None)
    progress = ConsoleProgress()
    generator = ops.Generator.ready(progress)
    if rate is None:
        _profile(ops.measure(generator, place, shape, p99_ms, progress), planned, format_)
        return
    with step(progress, f"{rate:,g} requests a second to {place.url}"):
        found = generator.run(place.url, shape, rate, duration, progress, warm_s=warm_up)
    _show([found], format_)
    if hint := ops.advice(found):
        err.print(f"[yellow]hint:[/yellow] {escape(hint)}")
    if at_target:
        _judge(found, p99_ms, planned, place)


def _judge(found: ops.Reading, p99_ms: float | None, planned: ServicePlan, place: ops.Place) -> None:
    said = ops.misses(found, p99_ms)
    if not said:
        err.print(f"[green]kept:[/green] {planned.key} carries what its stack demands")
        return
    for line in said:
        err.print(f"[red]missed:[/red] {escape(line)}")
    pods, wanted = place.pods(), planned.replicas_at_target.value
    if pods and len(pods) < wanted:
        err.print(
            f"{len(pods)} pods were ready, the plan has {wanted} at the target: give the autoscaler time, --warm-up 3m"
        )
    raise typer.Exit(1)


def _profile(measured: ops.Measured, planned: ServicePlan, format_: Format) -> None:
    _show(measured.readings, format_)
    if measured.fewest_pods < measured.most_pods:
        err.print(
            f"[yellow]warning:[/yellow] there were {measured.fewest_pods} to {measured.most_pods} pods meanwhile: "
            "measure again"
        )
    if measured.most_pods == 0:
        err.print("[yellow]warning:[/yellow] nobody told how many pods are behind this address: taken as one")
    found, pods = measured.found, max(1, measured.most_pods)
    why = f"; then {found.broke[0]}" if found.broke else "; nothing broke up to there"
    words = err if format_ is Format.json else out
    words.print(
        f"{pods} pod{'s' if pods > 1 else ''} held {found.best.rate:,.0f} requests a second within "
        f"{found.p99_ms:,.4g} ms{escape(why)}"
    )
    threads = planned.worker_threads.value if planned.worker_threads else None
    words.print(escape(ops.profile(planned.key, found, pods, measured.cpu_time_s, threads)))


def _show(readings: Sequence[ops.Reading], format_: Format) -> None:
    if format_ is Format.json:
        rows = [{**asdict(r), "rps": r.rps, "errors": r.errors} for r in readings]
        clean = [{k: None if isinstance(v, float) and isinf(v) else v for k, v in row.items()} for row in rows]
        print(json.dumps(clean, indent=2))
        return
    table = Table(box=None, pad_edge=False)
    for title in ("asked/s", "served/s", "p50 ms", "p95 ms", "p99 ms", "worst ms", "503", "errors", "not sent"):
        table.add_column(title, justify="right")
    for r in readings:
        times = ["–" if isinf(t) else f"{t:,.1f}" for t in (r.p50_ms, r.p95_ms, r.p99_ms, r.worst_ms)]
        others = r.unknown + r.failed + r.silent
        table.add_row(f"{r.rate:,.4g}", f"{r.rps:,.1f}", *times, f"{r.refused:,}", f"{others:,}", f"{r.unsent:,}")
    out.print(table)
