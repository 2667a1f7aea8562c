"""The `headroom` command: finds the sub-command, and turns failures into one message and an exit code."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Annotated

import typer
from rich.markup import escape

from headroom.cli import backend, deploy, diff, local, plan, secrets, verify
from headroom.cli.console import err, out
from headroom.errors import HeadroomError, InputError

INTERRUPTED = 130

app = typer.Typer(
    name="headroom",
    help="Size a machine-learning platform from what it must carry, and deploy it to Kubernetes.",
    epilog="Exit codes: 0 done; 1 the environment said no; 2 what was asked cannot be; 130 stopped with Ctrl-C.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command()(plan.plan)
app.command()(deploy.render)
app.command()(deploy.preview)
app.command()(deploy.up)
app.command()(deploy.down)
app.command()(verify.verify)
app.command()(diff.diff)
app.add_typer(local.app, name="local")
app.add_typer(backend.app, name="backend")
app.add_typer(secrets.app, name="secrets")


def _version(show: bool) -> None:
    if show:
        out.print(f"headroom {metadata.version('headroom')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Options that stand before the sub-command."""


def main(args: list[str] | None = None) -> None:
    """Run the command line and exit.

    Everything that we raise on purpose is a HeadroomError: its message goes to stderr and its kind is the exit code.
    Anything else is a fault of ours and keeps its traceback.
    """
    try:
        code = app(args=args, standalone_mode=False)
    except HeadroomError as error:
        err.print(f"[red]error:[/red] {escape(error.message)}")
        if error.fix:
            err.print(f"  [green]fix:[/green] {escape(error.fix)}")
        sys.exit(error.exit_code)
    except typer.TyperException as error:
        words = error.format_message()
        context = getattr(error, "ctx", None)
        if words:  # without words, the help that a bare group prints has just been shown
            err.print(f"[red]error:[/red] {escape(words)}")
            err.print(f"  [green]fix:[/green] {escape(context.command_path if context else 'headroom')} --help")
        sys.exit(InputError.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        err.print("stopped. Nothing is left half-way: run the same command again to go on.")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `headroom plan | head`
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
