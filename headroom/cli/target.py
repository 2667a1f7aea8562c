"""Which cluster a command works on: a context by name, or the embedded cluster. Never the current one by default."""

from __future__ import annotations

from dataclasses import dataclass

from headroom import kubectl, local
from headroom.errors import EnvironmentFailure


@dataclass(frozen=True)
class Target:
    """`title` is how it is called in messages; `embedded` is None for a cluster of the user's own."""

    title: str
    kubectl: kubectl.Kubectl
    real_pods: bool
    embedded: local.Cluster | None


def resolve(context: str | None, name: str) -> Target:
    """The target of `--context`, else of `--name`. Raises EnvironmentFailure when the embedded cluster is not up."""
    if context:
        door = kubectl.Kubectl(kubectl.on_path(), None, context)
        return Target(f"context {context}", door, real_pods=True, embedded=None)
    cluster = local.find(name)
    if cluster is None:
        raise EnvironmentFailure(
            f"the embedded cluster {name!r} is not running",
            fix=f"headroom local up --name {name}, or name a cluster of yours with --context",
        )
    door = kubectl.Kubectl(cluster.kubectl, cluster.kubeconfig, cluster.context)
    return Target(f"embedded cluster {name} ({cluster.nodes} nodes)", door, cluster.nodes == "real", cluster)
