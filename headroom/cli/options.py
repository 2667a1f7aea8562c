"""The options that several commands share, so that each is spelled and explained once."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from headroom import project
from headroom.capacity import quantities


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


def named(context: typer.Context, stack: str, config: Path | None) -> str:
    """The stack's name: as --stack has it, else as the file of --config is called."""
    given = context.get_parameter_source("stack")
    if config is None or given is None or given.name != "DEFAULT":
        return stack
    return config.name.removeprefix("Pulumi.").partition(".")[0] or stack


def quantity(read: Callable[[str], Decimal | int]) -> Callable[[str], str]:
    """The parser of an option that takes what `read` can read, `500m` or `2Gi`, above 0: the text itself."""

    def parse(given: str) -> str:
        try:
            found = read(given)
        except ValueError as error:
            raise typer.BadParameter(f"{given} {error}") from None
        if found <= 0:
            raise typer.BadParameter(f"{given} is not above 0")
        return given

    return parse


def seconds(least: str, most: str) -> Callable[[str | float], float]:
    """The parser of an option that takes a time with its unit, `90s` or `5m`: seconds, from `least` to `most`.

    A number passes as it is: the option's own default.
    """
    lowest, highest = quantities.seconds(least), quantities.seconds(most)

    def parse(given: str | float) -> float:
        if not isinstance(given, str):
            return given
        try:
            found = quantities.seconds(given)
        except ValueError as error:
            raise typer.BadParameter(f"{given} {error}") from None
        if not lowest <= found <= highest:
            raise typer.BadParameter(f"{given} is not between {least} and {most}")
        return float(found)

    return parse
