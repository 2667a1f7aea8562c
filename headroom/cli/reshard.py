"""`headroom reshard`: buckets on their way between shards."""

from __future__ import annotations

from collections import Counter

import typer
from rich.markup import escape
from rich.table import Table

from headroom import project
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.cli import options, target
from headroom.cli.console import here, on_stack, out
from headroom.errors import InputError
from headroom.kubectl import Kubectl
from headroom.ops import reshard

SHOWN = 12
app = typer.Typer(
    help="See and steer the buckets that move after the number of shards changed. `headroom up` starts them; clients "
    "read and write meanwhile.",
    no_args_is_help=True,
)


@app.command()
def status(
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
) -> None:
    """How many have moved, how many are on their way, and what holds one up."""
    kubectl, namespace = _store(stack, context, name, config)
    now = reshard.state(kubectl, namespace)
    done = [m for m in now.moves if m.step == "done"]
    shares = ", ".join(f"{count} on shard {shard}" for shard, count in sorted(Counter(now.owners).items()))
    out.print(f"map version {now.version}: {shares}")
    if not now.unfinished:
        out.print("no bucket is on its way")
    else:
        doing = "a mover works" if now.working else "[red]no mover works[/red]"
        wishes = f"{', paused' * now.paused}{', told to stop' * now.aborted}"
        copied = sum(m.copied for m in now.unfinished)
        out.print(
            f"{len(done)} of {len(now.moves)} buckets moved; {doing}{wishes}; {copied:,} bytes copied of those left"
        )
    pauses = sorted(m.pause_ms for m in done if m.pause_ms is not None)
    if pauses:
        out.print(f"writes of a bucket waited {pauses[len(pauses) // 2]:.0f} ms (median), {pauses[-1]:.0f} ms at most")
    going = [m for m in now.unfinished if m.step != "planned"]
    if going:
        table = Table("bucket", "from", "to", "step", "try", "copied", "for", "last word")
        for m in going[:SHOWN]:
            part = f"{m.copied:,} of {m.bytes:,}" if m.bytes else f"{m.copied:,}"
            row = (m.bucket, m.source, m.target, m.step, m.attempt, part, f"{m.idle:.0f} s", escape(m.said))
            table.add_row(*map(str, row))
        out.print(table)


@app.command()
def pause(
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
) -> None:
    """Begin no other bucket. Those on their way arrive: half-way they would only keep write-ahead log."""
    _wish(stack, context, name, config, paused=True)
    out.print(f"no other bucket begins; headroom reshard resume{escape(here())} goes on")


@app.command()
def resume(
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
) -> None:
    """Go on after a pause."""
    _wish(stack, context, name, config, paused=False)
    out.print("the mover goes on, if there is one; else headroom up starts it")


@app.command()
def abort(
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
) -> None:
    """Stop: what has moved stays moved, the others are where they were. `headroom up` goes on, or the former number of
    shards in the stack file moves back."""
    kubectl, namespace = _store(stack, context, name, config)
    out.print(escape(reshard.abort(kubectl, namespace)))


def _wish(stack: str, context: str | None, name: str, config: options.ConfigFile, *, paused: bool) -> None:
    kubectl, namespace = _store(stack, context, name, config)
    reshard.wish(kubectl, namespace, paused=paused)


def _store(stack: str, context: str | None, name: str, config: options.ConfigFile) -> tuple[Kubectl, str]:
    plan = plans.make(demands.load(stack, config or project.stack_file(stack))).postgres
    if plan is None:
        raise InputError(f"stack {stack} has no PostgreSQL", fix="choose another with --stack")
    where, _ = target.resolve(context, name)
    on_stack(stack)
    if not where.real_pods:
        raise InputError("no software runs in the pods of fake nodes", fix="headroom local up --nodes real")
    return where.kubectl, plan.namespace
