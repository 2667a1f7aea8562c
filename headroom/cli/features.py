"""`headroom features`: the feature store of the inference services."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from headroom import project
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.cli import options, target
from headroom.cli.console import ConsoleProgress, err, out
from headroom.ops import features
from headroom.progress import step

app = typer.Typer(help="The feature store: what models are asked about, in sharded PostgreSQL.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Options that stand before the sub-command."""


@app.command()
def load(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or Parquet with entity_id and a column a feature.")],
    stack: options.Stack = "local",
    context: options.Context = None,
    name: options.ClusterName = "headroom",
    config: options.ConfigFile = None,
    check: Annotated[bool, typer.Option("--check", help="Look at every row and stop: touches no cluster.")] = False,
    from_start: Annotated[
        bool, typer.Option("--from-start", help="Begin anew where an earlier run of the same file was stopped.")
    ] = False,
    pooler: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="A PgBouncer of the stack that this machine reaches, instead of kubectl port-forward.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Put the features of a file into the shards: an entity a row, new ones added, known ones replaced.

    Every row is looked at first (types, finite numbers, duplicates); a file with a bad row is refused with its lines,
    and nothing is written. Stopped with Ctrl-C or by a crash, the same command goes on where it was. Services answer
    with the new features once their cache lets go of the old ones (CACHE_TTL_S, 300 s).
    """
    progress = ConsoleProgress()
    table = features.open_table(file)
    with step(progress, f"checking {file.name}"):
        checked = features.check(table, lambda rows: progress.detail(f"{rows:,} rows"))
    out.print(f"{escape(file.name)}: {checked.rows:,} entities of {checked.width} features, every row is sound")
    if check:
        return
    plan = plans.make(demands.load(stack, config or project.stack_file(stack)))
    where, _ = target.resolve(context, name)
    with features.reach(where, plan, pooler) as store:
        journal = features.Journal.of(checked.digest, stack, store.identity)
        if from_start:
            journal.forget()
        with _bar(checked.rows) as tell:
            done = features.load(table, checked, store, journal, tell)
    went_on = f", {done.skipped:,} of them by the run before" if done.skipped else ""
    again = f"; {done.retries} attempts were repeated" if done.retries else ""
    out.print(f"{done.rows:,} entities are in the shards of {escape(where.title)}{went_on}{again}")


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, a line every few seconds elsewhere."""
    if not err.is_terminal:
        progress = ConsoleProgress()
        with step(progress, f"loading {total:,} entities"):
            yield lambda done: progress.detail(f"{done:,} of {total:,} entities")
        return
    columns = (TextColumn("loading"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err) as bar:
        task = bar.add_task("", total=total)
        yield lambda done: bar.update(task, completed=done)
