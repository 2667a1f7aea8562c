"""`headroom local`: the embedded cluster."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.markup import escape

from headroom import local
from headroom.cli import options
from headroom.cli.console import ConsoleProgress, out
from headroom.local import addons
from headroom.local.addons import Addon

app = typer.Typer(
    help="The embedded cluster: a real Kubernetes control plane on this machine, in a room of its own.",
    no_args_is_help=True,
)


class Nodes(StrEnum):
    auto = "auto"
    real = "real"
    fake = "fake"


@app.command()
def up(
    name: options.ClusterName = "headroom",
    nodes: Annotated[
        Nodes,
        typer.Option(
            help="real: a kubelet and containerd run your pods (Linux, root). fake: pods exist for the API only. "
            "auto: real where this machine allows it."
        ),
    ] = Nodes.auto,
    extra: Annotated[
        list[Addon] | None,
        typer.Option(
            "--with",
            help="Also run monitoring (Prometheus), keda or custom-metrics; both bring monitoring. Built once: "
            "minutes. May be given again.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Start the cluster, or find it running. The first start builds Kubernetes, which takes minutes; then seconds.

    Your own kubeconfig is never read or changed.
    """
    progress = ConsoleProgress()
    cluster = local.up(name, nodes=nodes.value, progress=progress)
    addons.install(cluster, extra or [], progress)
    show(name)
    out.print(f"next: [bold]headroom up --stack local{'' if name == 'headroom' else f' --name {cluster.name}'}[/bold]")


@app.command()
def down(name: options.ClusterName = "headroom") -> None:
    """Stop the cluster and remove everything that it made: processes, mounts, interfaces, rules, files, data."""
    if not local.down(name, progress=ConsoleProgress()):
        out.print(f"there is no cluster {escape(name)}")


@app.command()
def status(name: options.ClusterName = "headroom") -> None:
    """Nodes, pods, services and how to reach them."""
    show(name)


def show(name: str) -> None:
    """Print what runs on a cluster."""
    out.print(escape(str(local.status(name))))
