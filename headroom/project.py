"""Where the project is on disk: its root, and the stack file of a stack."""

from __future__ import annotations

from pathlib import Path

from headroom.errors import InputError


def root() -> Path:
    """The project's folder: the nearest one at or above the current folder with a `Pulumi.yaml`, else the checkout
    that this package was installed from.

    Raises InputError when neither has one, or when the current folder was deleted.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise InputError("the current folder is not there any more", fix="cd to one that is") from None
    for folder in (here, *here.parents, Path(__file__).resolve().parent.parent):
        if (folder / "Pulumi.yaml").is_file():
            return folder
    raise InputError("no Pulumi.yaml here or above", fix="run headroom inside a checkout of the project")


def stack_names(folder: Path | None = None) -> list[str]:
    """The stacks that have a stack file, sorted."""
    return sorted(
        f.name.removeprefix("Pulumi.").removesuffix(".yaml") for f in (folder or root()).glob("Pulumi.*.yaml")
    )


def stack_file(stack: str, folder: Path | None = None) -> Path:
    """The path of `Pulumi.<stack>.yaml`. Raises InputError naming the stacks there are when it does not exist."""
    folder = folder or root()
    path = folder / f"Pulumi.{stack}.yaml"
    if stack not in stack_names(folder):
        raise InputError(
            f"there is no stack {stack!r}: {path.name} does not exist",
            fix=f"choose one of {', '.join(stack_names(folder)) or '(none)'}, or write {path.name}",
        )
    return path
