"""What both engines take and give: a deployment and its target in; changes and a result out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from headroom.kubectl import Kubectl, on_path
from headroom.progress import Progress

if TYPE_CHECKING:
    from headroom.local import Cluster

Action = Literal["create", "update", "replace", "delete", "unchanged", "refused"]


@dataclass(frozen=True)
class Target:
    """A cluster to deploy to. `embedded` is our own local one; `real_pods` is false on fake nodes; `title` names it
    to people."""

    kubectl: Kubectl
    title: str
    embedded: bool = False
    real_pods: bool = True

    @classmethod
    def of(cls, cluster: Cluster) -> Target:
        """The embedded cluster."""
        return cls(
            Kubectl(cluster.kubectl, cluster.kubeconfig),
            title=f"the embedded cluster {cluster.name}",
            embedded=True,
            real_pods=cluster.nodes == "real",
        )

    @classmethod
    def named(cls, context: str, kubeconfig: Path | None = None) -> Target:
        """A cluster of the user's, by the name of a context; never the current one by default."""
        return cls(Kubectl(on_path(), kubeconfig, context), title=f"context {context}")


@dataclass(frozen=True)
class Deployment:
    """What to deploy and where: the project's folder, the stack, its stack file when it is not the usual one, and the
    values of secret config keys (`headroom:secrets.postgresApp`, or nested the same way)."""

    project: Path
    stack: str
    target: Target
    config_file: Path | None = None
    secrets: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class FieldChange:
    """One field of an object. Values are None where the field is missing, and in Secrets, whose values are hidden."""

    path: str
    before: Any = None
    after: Any = None


@dataclass(frozen=True)
class Change:
    """What happens to one object. `refused` cannot be done, for the `reason` given; nothing is applied then."""

    action: Action
    kind: str
    namespace: str
    name: str
    fields: tuple[FieldChange, ...] = ()
    reason: str = ""

    def __str__(self) -> str:
        where = f"{self.namespace}/" if self.namespace else ""
        return f"{self.action} {self.kind} {where}{self.name}"


@dataclass(frozen=True)
class Changes:
    """A preview: one change an object, and what the API server warned of."""

    items: tuple[Change, ...]
    warnings: tuple[str, ...] = ()

    def of(self, action: Action) -> tuple[Change, ...]:
        """The changes of one kind."""
        return tuple(c for c in self.items if c.action == action)

    def count(self) -> dict[Action, int]:
        """How many objects each action touches; actions that touch none are left out."""
        actions: tuple[Action, ...] = ("create", "update", "replace", "delete", "unchanged", "refused")
        return {a: n for a in actions if (n := len(self.of(a)))}

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return all(c.action == "unchanged" for c in self.items)


@dataclass(frozen=True)
class Result:
    """What was done. `kept` are objects that hold data and were left alone, as `kind namespace/name`; `exports` are
    the program's outputs without secret ones; `namespace` is the stack's."""

    changes: Changes
    seconds: float
    kept: tuple[str, ...] = ()
    exports: Mapping[str, Any] = field(default_factory=dict)
    namespace: str = ""


class Engine(Protocol):
    """Deploys a stack. Failures are InputError (nothing was touched) or EnvironmentFailure (run it again)."""

    name: str

    def preview(self, deployment: Deployment, progress: Progress) -> Changes:
        """What `up` would do. Touches nothing."""

    def up(self, deployment: Deployment, progress: Progress) -> Result:
        """Make the cluster as the stack says, in the program's order, and wait until it runs."""

    def down(self, deployment: Deployment, progress: Progress, *, delete_data: str | None = None) -> Result:
        """Delete the stack's objects, last first. Namespaces and volume claims stay, unless `delete_data` is the name
        of the stack's namespace."""
