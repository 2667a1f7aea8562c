"""The `headroom` command: finds the sub-command, and turns failures into one message and an exit code."""

from __future__ import annotations

import contextlib
import errno
import gc
import inspect
import io
import os
import sys
from importlib import import_module, metadata
from typing import Annotated

import typer
from rich.markup import escape

from headroom.cli.console import err, out, remind
from headroom.errors import EnvironmentFailure, HeadroomError, InputError

INTERRUPTED = 130

# A command's module, and what of it is the command: a function, or a group of commands.
COMMANDS = {
    "plan": ("headroom.cli.plan", "plan"),
    "diff": ("headroom.cli.diff", "diff"),
    "render": ("headroom.cli.render", "render"),
    "preview": ("headroom.cli.deploy", "preview"),
    "up": ("headroom.cli.deploy", "up"),
    "down": ("headroom.cli.deploy", "down"),
    "verify": ("headroom.cli.verify", "verify"),
    "doctor": ("headroom.cli.doctor", "doctor"),
    "checklist": ("headroom.cli.checklist", "checklist"),
    "rightsize": ("headroom.cli.rightsize", "rightsize"),
    "load": ("headroom.cli.load", "load"),
    "features": ("headroom.cli.features", "app"),
    "scale": ("headroom.cli.scale", "scale"),
    "maintenance": ("headroom.cli.maintenance", "app"),
    "canary": ("headroom.cli.canary", "app"),
    "rollback": ("headroom.cli.rollback", "rollback"),
    "reshard": ("headroom.cli.reshard", "app"),
    "local": ("headroom.cli.local", "app"),
    "backend": ("headroom.cli.backend", "app"),
    "secrets": ("headroom.cli.secrets", "app"),
}


PLAIN = {
    "int_parsing": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "greater_than_equal": "is less than {ge:g}",
    "less_than_equal": "is more than {le:g}",
}
"""Pydantic's findings about a value on the command line."""


def application(wanted: str | None = None) -> typer.Typer:
    """The command line with the command `wanted`, or with every command when that is none of them.

    The clients of AWS and of Pulumi take longer to import than a plan takes to compute, so only what was asked for is.
    """
    app = typer.Typer(
        name="headroom",
        help="Size a machine-learning platform from what it must carry, and deploy it to Kubernetes.",
        epilog="Exit codes: 0 done; 1 the environment said no; 2 what was asked cannot be; 130 stopped with Ctrl-C.",
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in [wanted] if wanted in COMMANDS else COMMANDS:
        module, attribute = COMMANDS[name]
        command = getattr(import_module(module), attribute)
        if isinstance(command, typer.Typer):
            for part in command.registered_commands:
                part.help = _flowing(part.help or getattr(part.callback, "__doc__", None))
            app.add_typer(command, name=name)
        else:
            app.command(name, help=_flowing(command.__doc__))(command)
    return app


def _flowing(words: str | None) -> str:
    """A docstring for a terminal of any width: lines of a paragraph joined, lines of examples kept."""
    paragraphs = inspect.cleandoc(words or "").split("\n\n")
    return "\n\n".join(p if p.startswith("[dim]") else " ".join(p.split("\n")) for p in paragraphs)


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit.

    Everything that we raise on purpose is a HeadroomError: its message goes to stderr and its kind is the exit code.
    Anything else is a fault of ours and keeps its traceback.
    """
    args = sys.argv[1:] if args is None else args
    # Imports make hundreds of thousands of objects that live to the end; looking for garbage among them costs a tenth
    # of a second, again and again.
    gc.set_threshold(100_000)
    _write_what_can_be_written()
    try:
        code = application(args[0] if args else None)(args=args, standalone_mode=False)
        if code != INTERRUPTED:
            sys.stdout.flush()  # a full disk is met here, not after the last word
    except HeadroomError as error:
        err.print(f"[red]error:[/red] {escape(error.message)}")
        if error.fix:
            err.print(f"  [green]fix:[/green] {escape(error.fix)}")
            remind(error.fix)
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        words = _plain(error)
        context = getattr(error, "ctx", None)
        if words:  # without words, the help that a bare group prints has just been shown
            err.print(f"[red]error:[/red] {escape(words)}")
            err.print(f"  [green]fix:[/green] {escape(context.command_path if context else 'headroom')} --help")
        sys.exit(InputError.exit_code)
    except typer.Abort:  # the answer to a question
        err.print("nothing was changed.")
        sys.exit(INTERRUPTED)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:  # `headroom plan | head`
        sys.stderr.close()
        sys.exit(0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _drop_output()
        err.print(f"[red]error:[/red] what is to be written finds no room: {escape(str(error.strerror))}")
        err.print("  [green]fix:[/green] free some space where the output goes, and where XDG_STATE_HOME is")
        sys.exit(EnvironmentFailure.exit_code)
    if code == INTERRUPTED:  # typer gives Ctrl-C back as this code
        err.print("stopped. The same command can be run again.")
    sys.exit(code if isinstance(code, int) else 0)


def _write_what_can_be_written() -> None:
    """A locale without ≤ and … shows ? for them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def _drop_output() -> None:
    """What could not be written would be tried again at the end, with a traceback."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _plain(error: typer.TyperException) -> str:
    """The message of a command line that cannot be, in our words where pydantic checked the value."""
    from pydantic import ValidationError  # noqa: PLC0415  most commands need none of it

    words, cause = error.format_message(), error.__cause__
    if not isinstance(cause, ValidationError):
        return words
    for found in cause.errors(include_url=False):
        rule = PLAIN.get(found["type"], found["msg"].removeprefix("Value error, "))
        given = f"{found['input']!r} " if found["type"] in PLAIN else ""
        words = words.replace(found["msg"], given + rule.format(**found.get("ctx", {})))
    return words


def _version(show: bool) -> None:
    if show:
        out.print(f"headroom {metadata.version('headroom')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options that stand before the sub-command."""


if __name__ == "__main__":
    main()
