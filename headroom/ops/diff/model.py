"""What is compared, and what comes of it. Plain data, so that each step can be tested alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Manifest = Mapping[str, Any]
Value = int | float | str
Operation = Literal["replace", "delete", "release", "update", "create", "note"]
"""`release`: the engine lets go of an object that stays on the cluster (retain_on_delete). `note`: annotations only."""
DangerKind = Literal["data", "downtime", "deletion", "shrink", "exposure"]


@dataclass(frozen=True)
class Line:
    """One line of a plan (see `headroom plan --format json`)."""

    component: str
    setting: str
    value: Value
    unit: str
    because: str
    bound_by: str


@dataclass(frozen=True)
class Rendered:
    """One object of a stack with what the engine was told about it. Never a Secret, and without plaintext secrets."""

    manifest: Manifest
    urn: str = ""
    aliases: tuple[str, ...] = ()
    replace_on_changes: tuple[str, ...] = ()
    retain: bool = False

    @property
    def kind(self) -> str:
        return str(self.manifest.get("kind"))

    @property
    def name(self) -> str:
        return str(self.manifest["metadata"]["name"])

    @property
    def namespace(self) -> str:
        return str(self.manifest["metadata"].get("namespace") or "")

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What the API server tells objects apart by; the version of the API is not part of it."""
        group = str(self.manifest.get("apiVersion", "")).rpartition("/")[0]
        return group, self.kind, self.namespace, self.name

    @property
    def title(self) -> str:
        """`StatefulSet ml-platform/pg-shard-0`."""
        return f"{self.kind} {self.namespace}/{self.name}" if self.namespace else f"{self.kind} {self.name}"

    @property
    def app(self) -> str:
        """The component that the object belongs to, from its label `app`; empty for objects of the stack itself."""
        labels = self.manifest["metadata"].get("labels") or {}
        return str(labels.get("app") or labels.get("app.kubernetes.io/name") or "")


@dataclass(frozen=True)
class Snapshot:
    """One stack at one revision."""

    stack: str
    lines: tuple[Line, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    objects: tuple[Rendered, ...] = ()
    costs: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """US dollars a month of each component, at its fewest and at its most pods."""
    cluster: Mapping[str, str] = field(default_factory=dict)
    """What the stack file says of the cluster, a kubeconfig only as a digest."""


@dataclass(frozen=True)
class Absent:
    """The revision has no stack file of that name."""

    stack: str


@dataclass(frozen=True)
class Broken:
    """A stack that could not be planned or rendered at one revision, and why."""

    stack: str
    reason: str
    fix: str = ""


State = Snapshot | Absent | Broken


@dataclass(frozen=True)
class SettingChange:
    """A setting that differs. One of both sides is None where the setting is new or gone."""

    component: str
    setting: str
    before: Line | None
    after: Line | None


@dataclass(frozen=True)
class FieldChange:
    """One leaf of an object that differs; `path` as people write it, list entries by name where they have one."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class ObjectChange:
    """What happens to one object. `why` are the fields that force a replacement."""

    operation: Operation
    before: Rendered | None
    after: Rendered | None
    fields: tuple[FieldChange, ...] = ()
    why: tuple[str, ...] = ()

    @property
    def object(self) -> Rendered:
        """The object as it will be, or as it was when it goes."""
        found = self.after or self.before
        if found is None:
            raise ValueError("a change without an object")
        return found


@dataclass(frozen=True)
class Danger:
    """Something that a reviewer must not miss, in words."""

    kind: DangerKind
    subject: str
    words: str


@dataclass(frozen=True)
class StackDiff:
    """Everything about one stack. `problems` are why it (or a side of it) could not be read."""

    stack: str
    settings: tuple[SettingChange, ...] = ()
    objects: tuple[ObjectChange, ...] = ()
    dangers: tuple[Danger, ...] = ()
    warnings: tuple[tuple[str, str], ...] = ()
    """New warnings of the plan."""
    problems: tuple[str, ...] = ()
    before: State | None = None
    after: State | None = None

    @property
    def changed(self) -> bool:
        told = self.settings or self.objects or self.dangers or self.problems
        return bool(told or type(self.before) is not type(self.after))


@dataclass(frozen=True)
class Report:
    """The comparison of two revisions. `problems` are those that left nothing to compare."""

    base: str
    head: str
    stacks: tuple[StackDiff, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        return bool(self.problems or any(s.problems for s in self.stacks))
