"""The options that several commands share, so that each is spelled and explained once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from headroom import project


def _stacks() -> list[str]:
    return project.stack_names()


Stack = Annotated[
    str,
    typer.Option(
        "--stack",
        "-s",
        help="Which stack file: Pulumi.<stack>.yaml.",
        envvar="HEADROOM_STACK",
        autocompletion=_stacks,
    ),
]
Context = Annotated[
    str | None,
    typer.Option(
        "--context",
        help="A context of your kubeconfig (kind, EKS, …). Without it: the embedded cluster, never the current one.",
        show_default=False,
    ),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option("--config", help="A stack file elsewhere, instead of Pulumi.<stack>.yaml.", show_default=False),
]
ClusterName = Annotated[str, typer.Option("--name", help="Which embedded cluster; several can run side by side.")]
