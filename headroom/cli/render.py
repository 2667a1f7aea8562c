"""`headroom render`: the objects as files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from headroom import project
from headroom.cli import options
from headroom.cli.console import err
from headroom.engine import render as engine


def render(
    context: typer.Context,
    out_: Annotated[Path, typer.Option("--out", "-o", help="The folder to write to; made when missing.")],
    stack: options.Stack = "local",
    config: options.ConfigFile = None,
    with_secrets: Annotated[
        bool, typer.Option("--with-secrets", help="Write Secrets too, in files that only you can read.")
    ] = False,
) -> None:
    """Write a stack's Kubernetes objects, one YAML file each, for GitOps and for reviews.

    Byte-identical when nothing changed. Secrets are left out and listed by name unless --with-secrets is given.
    """
    stack = options.named(context, stack, config)
    rendered = engine.render(project.root(), stack, config_file=config)
    written = engine.write(rendered, out_, with_secrets=with_secrets)
    for warning in rendered.warnings:
        err.print(f"[yellow]warning:[/yellow] {escape(warning)}")
    err.print(f"{len(written)} files in {escape(str(out_))}")
