"""`headroom secrets …`: the passwords of a stack. Values are never printed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headroom import project
from headroom.backend import local_secrets, pulumi_cli
from headroom.backend import secrets as passwords
from headroom.cli import options
from headroom.cli.console import ConsoleProgress, out
from headroom.local import paths

app = typer.Typer(help="The passwords that a stack needs. Values are never printed.", no_args_is_help=True)

_Cluster = Annotated[
    str | None,
    typer.Option(
        "--cluster",
        metavar="NAME",
        help="The embedded cluster's own file, without the Pulumi CLI, instead of the stack's config.",
        show_default=False,
    ),
]
_DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]


@app.command()
def init(stack: options.Stack, cluster: _Cluster = None, dry_run: _DryRun = False) -> None:
    """Generate the passwords that a stack needs and does not have, as config secrets."""
    file = project.stack_file(stack)
    found = passwords.read(file)
    if cluster is not None:
        path = _path(cluster)
        before = path.exists()
        if not dry_run:
            local_secrets.ensure_local(path, set(found.components))
        out.print(f"{'would keep' if dry_run else 'kept'} in {path}: {_list(tuple(found.required))}", markup=False)
        out.print("they were there already" if before else "only you can read that file", markup=False)
        return
    missing = [name for name in found.required if name not in found.present]
    if not missing:
        out.print(f"nothing to do: {stack} has {_list(tuple(found.required))}", markup=False)
        return
    cli = pulumi_cli.find(project.root())
    made = passwords.init(stack, file, cli, dry_run=dry_run, progress=ConsoleProgress())
    out.print(f"{'would generate' if dry_run else 'generated'}: {_list(made)}", markup=False)
    kept = tuple(name for name in found.required if name in found.present)
    if kept:
        out.print(f"left as they were: {_list(kept)}", markup=False)
    out.print(f"They are encrypted in {file.name}: commit it.", markup=False)


@app.command()
def rotate(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Which, for example postgresApp.")],
    stack: options.Stack,
    cluster: _Cluster = None,
    dry_run: _DryRun = False,
) -> None:
    """Give one password a new value, and say which pods will roll."""
    file = project.stack_file(stack)
    found = passwords.read(file)
    passwords.check_name(name, found.required)
    if cluster is not None:
        local_secrets.rotate_local(_path(cluster), name, dry_run=dry_run)
        rolled = found.rolls(name)
    else:
        cli = pulumi_cli.find(project.root())
        rolled = passwords.rotate(name, stack, file, cli, dry_run=dry_run, progress=ConsoleProgress())
    out.print(f"{'would rotate' if dry_run else 'rotated'} {name}: {passwords.REQUIRED[name].used_for}", markup=False)
    out.print(f"pods that roll at the next `headroom up --stack {stack}`: {_list(rolled)}", markup=False)


def _path(cluster: str) -> Path:
    """The embedded cluster's file of secrets, in its state folder."""
    return paths.state(cluster) / local_secrets.FILE


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"
