"""Which cluster a command works on: a context by name, or the embedded cluster. Never the current one by default."""

from __future__ import annotations

from headroom import local
from headroom.cli.console import on_cluster
from headroom.engine.model import Target
from headroom.errors import EnvironmentFailure


def resolve(context: str | None, name: str) -> tuple[Target, local.Cluster | None]:
    """The target of `--context`, else of `--name` with its embedded cluster.

    Raises EnvironmentFailure when the embedded cluster is not up.
    """
    if context:
        on_cluster(f"--context {context}", f"--context {context}")
        return Target.named(context), None
    cluster = local.find(name)
    if cluster is None:
        raise EnvironmentFailure(
            f"the embedded cluster {name!r} is not running",
            fix=f"headroom local up --name {name}, or name a cluster of yours with --context",
        )
    # A kubectl of the user's own goes by their current context.
    on_cluster(f"--name {name}" if name != "headroom" else "", f"KUBECONFIG={cluster.kubeconfig}")
    return Target.of(cluster), cluster
