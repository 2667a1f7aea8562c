"""What a run of the program registered: every resource, and the Kubernetes objects among them in the order to apply.

Plain data without a Pulumi import, so that writers, differs and policies can use it cheaply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Manifest = dict[str, Any]
Path = tuple[str, ...]
"""A place in a manifest: keys from the top, list positions as decimal strings."""


@dataclass(frozen=True, order=True)
class ObjectId:
    """What the API server tells objects apart by. `namespace` is empty for cluster-scoped objects."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> ObjectId:
        """The identity of a manifest."""
        metadata = manifest.get("metadata") or {}
        return cls(manifest["apiVersion"], manifest["kind"], metadata.get("namespace") or "", metadata["name"])

    @property
    def group(self) -> str:
        """The API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def stub(self) -> Manifest:
        """The smallest manifest that names the object: what get and delete need, without any of its content."""
        metadata = {"name": self.name} | ({"namespace": self.namespace} if self.namespace else {})
        return {"apiVersion": self.api_version, "kind": self.kind, "metadata": metadata}

    def __str__(self) -> str:
        where = f" in {self.namespace}" if self.namespace else ""
        return f"{self.kind.lower()}/{self.name}{where}"


@dataclass(frozen=True)
class Resource:
    """One registration, as the Pulumi engine would have seen it.

    `inputs` are plain values (whole floats are ints, secrets are unwrapped and their places listed in `secret_paths`).
    `dependencies` are the URNs sent with the registration: `depends_on` and the resources that inputs came from.
    """

    urn: str
    type_token: str
    name: str
    parent: str
    custom: bool
    inputs: Mapping[str, Any]
    secret_paths: tuple[Path, ...] = ()
    dependencies: tuple[str, ...] = ()
    protect: bool = False
    retain_on_delete: bool = False
    delete_before_replace: bool = False
    replace_on_changes: tuple[str, ...] = ()
    ignore_changes: tuple[str, ...] = ()
    additional_secret_outputs: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    provider: str = ""
    deleted_with: str = ""


@dataclass(frozen=True)
class RenderedObject:
    """One Kubernetes object.

    `depends_on` holds URNs of objects of the same rendering: components are resolved to all their objects, and what
    a component waits for its objects wait for. `wave` is the length of the longest path of such edges to an object
    that waits for nothing: all of wave n is ready before wave n+1 is touched.
    """

    urn: str
    logical_name: str
    type_token: str
    manifest: Manifest
    secret_paths: tuple[Path, ...] = ()
    depends_on: tuple[str, ...] = ()
    wave: int = 0
    retain: bool = False
    protect: bool = False
    replace_on_changes: tuple[str, ...] = ()
    delete_before_replace: bool = False
    parent: str = ""

    @property
    def id(self) -> ObjectId:
        """The object's identity on the cluster."""
        return ObjectId.of(self.manifest)

    @property
    def is_secret(self) -> bool:
        """Whether it is a Secret, whose content is never shown."""
        return (self.id.api_version, self.id.kind) == ("v1", "Secret")


@dataclass(frozen=True)
class Rendered:
    """A whole stack. `objects` are in the order to apply: by wave, then by kind, namespace and name.

    `namespace` is the stack's own (`<project>:namespace` in the stack file), empty when it names none. `exports` are
    the program's outputs; those named in `secret_exports` must not be shown. `placeholders` are the config keys whose
    secret value was not known here: objects made from them can be looked at, but not applied. `warnings` is what the
    program logged as such.
    """

    project: str
    stack: str
    namespace: str
    objects: tuple[RenderedObject, ...]
    resources: tuple[Resource, ...] = ()
    exports: Mapping[str, Any] = field(default_factory=dict)
    secret_exports: frozenset[str] = frozenset()
    placeholders: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def waves(self) -> Iterator[tuple[int, tuple[RenderedObject, ...]]]:
        """Each wave with its objects, first to last."""
        for wave in sorted({o.wave for o in self.objects}):
            yield wave, tuple(o for o in self.objects if o.wave == wave)

    def find(self, kind: str, name: str, namespace: str | None = None) -> RenderedObject:
        """The one object of that kind and name. Raises KeyError when there is none or more than one."""
        found = [
            o for o in self.objects if o.id.kind == kind and o.id.name == name and namespace in (None, o.id.namespace)
        ]
        if len(found) != 1:
            raise KeyError(f"{len(found)} objects are {kind} {name}")
        return found[0]
