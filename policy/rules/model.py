"""What a rule is, and the few ways of looking into a Kubernetes object that rules share.

A manifest is the plain mapping of an object as it is written in YAML. Rules are pure: manifests in, violations out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Manifest = Mapping[str, Any]
Options = Mapping[str, Any]

WORKLOADS = frozenset({"Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job", "CronJob", "Pod"})
LONG_RUNNING = frozenset({"Deployment", "StatefulSet", "DaemonSet"})
SCALED = frozenset({"Deployment", "StatefulSet"})


@dataclass(frozen=True)
class Violation:
    """One object that breaks one rule, and what to change."""

    rule: str
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.message} [{self.rule}]"


@dataclass(frozen=True)
class ObjectRule:
    """A rule that can be judged on one object alone; `check` yields a message for each violation."""

    name: str
    description: str
    check: Callable[[Manifest], Iterator[str]]

    def violations(self, manifest: Manifest) -> Iterator[Violation]:
        """The violations of one object."""
        for message in self.check(manifest):
            yield Violation(self.name, subject(manifest), message)


@dataclass(frozen=True)
class StackRule:
    """A rule that needs the whole stack; `check` gets the stack's objects and yields (object, message)."""

    name: str
    description: str
    check: Callable[[Sequence[Manifest]], Iterator[tuple[Manifest, str]]]

    def violations(self, manifests: Sequence[Manifest]) -> Iterator[Violation]:
        """The violations of one stack."""
        for manifest, message in self.check(manifests):
            yield Violation(self.name, subject(manifest), message)


@dataclass(frozen=True)
class PodTemplate:
    """The pod that a workload makes: its labels, annotations and spec."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Container:
    """A container of a pod. `role` is containers (runs as long as the pod), initContainers, or sidecar (an init
    container that goes on running)."""

    name: str
    role: str
    spec: Mapping[str, Any]


def subject(manifest: Manifest) -> str:
    """`Kind namespace/name`, as people say it."""
    meta = manifest.get("metadata") or {}
    place = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{manifest.get('kind', '?')} {place}{meta.get('name', '?')}"


def namespace(manifest: Manifest) -> str:
    """The object's namespace, empty for objects that have none."""
    return str((manifest.get("metadata") or {}).get("namespace") or "")


def name(manifest: Manifest) -> str:
    """The object's name."""
    return str((manifest.get("metadata") or {}).get("name") or "")


def spec(manifest: Manifest) -> Mapping[str, Any]:
    """The object's spec, empty when it has none."""
    return manifest.get("spec") or {}


def pod(manifest: Manifest) -> PodTemplate | None:
    """The pod that this object is or makes; None for anything that makes no pods."""
    kind = manifest.get("kind")
    if kind not in WORKLOADS:
        return None
    if kind == "Pod":
        template: Mapping[str, Any] = manifest
    elif kind == "CronJob":
        template = ((spec(manifest).get("jobTemplate") or {}).get("spec") or {}).get("template") or {}
    else:
        template = spec(manifest).get("template") or {}
    meta = template.get("metadata") or {}
    return PodTemplate(meta.get("labels") or {}, meta.get("annotations") or {}, template.get("spec") or {})


def containers(template: PodTemplate) -> Iterator[Container]:
    """Every container of a pod, init containers too."""
    for role in ("initContainers", "containers"):
        for entry in template.spec.get(role) or ():
            sidecar = role == "initContainers" and entry.get("restartPolicy") == "Always"
            yield Container(str(entry.get("name", "?")), "sidecar" if sidecar else role, entry)


def matches(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a label selector selects these labels (an empty selector selects everything, None nothing)."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for term in selector.get("matchExpressions") or ():
        key, values = term.get("key"), term.get("values") or ()
        held = {
            "In": labels.get(key) in values,
            "NotIn": labels.get(key) not in values,
            "Exists": key in labels,
            "DoesNotExist": key not in labels,
        }.get(str(term.get("operator")), False)
        if not held:
            return False
    return True
