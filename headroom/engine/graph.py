"""Who waits for whom: registrations to objects in waves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from headroom.engine.rendered import Manifest, ObjectId, RenderedObject, Resource
from headroom.errors import InputError

KUBERNETES = "kubernetes:"
# Within a wave: what others live in or are checked against comes first, as kubectl and Helm do it too.
_FIRST = """
    Namespace CustomResourceDefinition PriorityClass StorageClass ResourceQuota LimitRange NetworkPolicy ServiceAccount
    Secret ConfigMap PersistentVolume PersistentVolumeClaim ClusterRole ClusterRoleBinding Role RoleBinding Service
    DaemonSet Pod Deployment StatefulSet Job CronJob
"""
KIND_ORDER = {kind: i for i, kind in enumerate(_FIRST.split())}


def is_object(resource: Resource) -> bool:
    """Whether a registration is a Kubernetes object (and not a component or a provider)."""
    return resource.custom and resource.type_token.startswith(KUBERNETES)


def objects(resources: Iterable[Resource]) -> tuple[RenderedObject, ...]:
    """The Kubernetes objects among the registrations, with their dependencies and waves, in the order to apply.

    Raises InputError naming the objects when dependencies run in a circle.
    """
    by_urn = {r.urn: r for r in resources}
    below = _objects_below(by_urn)
    waits = {urn: _waits(by_urn, below, urn) for urn, r in by_urn.items() if is_object(r)}
    waves = _waves(waits)
    made = [_object(by_urn[urn], tuple(sorted(waits[urn])), waves[urn]) for urn in waits]
    return tuple(sorted(made, key=apply_order))


def apply_order(o: RenderedObject) -> tuple[Any, ...]:
    """The sort key of objects: by wave, then what others live in first, then by name."""
    return (o.wave, KIND_ORDER.get(o.id.kind, len(KIND_ORDER)), o.id)


def _objects_below(by_urn: Mapping[str, Resource]) -> dict[str, set[str]]:
    """For each registration, the objects that stand for it: itself, or all those that it is an ancestor of."""
    below: dict[str, set[str]] = {urn: set() for urn in by_urn}
    for urn, resource in by_urn.items():
        if not is_object(resource):
            continue
        below[urn].add(urn)
        for ancestor in _ancestors(by_urn, urn):
            if not is_object(by_urn[ancestor]):
                below[ancestor].add(urn)
    return below


def _ancestors(by_urn: Mapping[str, Resource], urn: str) -> Iterable[str]:
    parent = by_urn[urn].parent
    while parent in by_urn:
        yield parent
        parent = by_urn[parent].parent


def _waits(by_urn: Mapping[str, Resource], below: Mapping[str, set[str]], urn: str) -> set[str]:
    """The objects that `urn` waits for. A child registers only after its parent, so it also waits for what its
    component waits for, and for a parent that is an object."""
    found: set[str] = set()
    for node in (urn, *_ancestors(by_urn, urn)):
        resource = by_urn[node]
        for dependency in (*resource.dependencies, resource.parent):
            target = by_urn.get(dependency)
            if target is None or (dependency == resource.parent and not is_object(target)):
                continue
            found |= below[dependency]
    return found


def _waves(waits: Mapping[str, set[str]]) -> dict[str, int]:
    waves: dict[str, int] = {}
    left = dict(waits)
    while left:
        ready = [urn for urn, deps in left.items() if deps <= waves.keys()]
        if not ready:
            names = ", ".join(sorted(urn.rpartition("::")[2] for urn in _circle(left)))
            raise InputError(f"these objects wait for each other: {names}", fix="break the circle of depends_on")
        for urn in ready:
            waves[urn] = 1 + max((waves[d] for d in left[urn]), default=-1)
        for urn in ready:
            del left[urn]
    return waves


def _circle(left: Mapping[str, set[str]]) -> list[str]:
    """One circle among those left: from any of them, follow what it waits for until a node comes again."""
    path = [min(left)]
    while True:
        following = min(d for d in left[path[-1]] if d in left)
        if following in path:
            return path[path.index(following) :]
        path.append(following)


def _object(resource: Resource, depends_on: tuple[str, ...], wave: int) -> RenderedObject:
    manifest: Manifest = {k: v for k, v in resource.inputs.items() if v is not None and k != "status"}
    return RenderedObject(
        urn=resource.urn,
        logical_name=resource.name,
        type_token=resource.type_token,
        manifest=manifest,
        secret_paths=resource.secret_paths,
        depends_on=depends_on,
        wave=wave,
        retain=resource.retain_on_delete,
        protect=resource.protect,
        replace_on_changes=resource.replace_on_changes,
        delete_before_replace=resource.delete_before_replace,
        parent=resource.parent,
    )


def problems(resources: Iterable[Resource]) -> list[str]:
    """What no engine could deploy: objects without a name of their own, two registrations of one object, a secret
    outside a Secret, resources that are not Kubernetes objects."""
    found: list[str] = []
    seen: dict[ObjectId, str] = {}
    for r in resources:
        label = f"{r.name} ({r.type_token})"
        if not r.custom or r.type_token.startswith("pulumi:"):
            continue
        if not is_object(r) or r.type_token.startswith(
            ("kubernetes:helm.sh", "kubernetes:kustomize", "kubernetes:yaml")
        ):
            found.append(f"{label} is no plain Kubernetes object; only those can be rendered")
            continue
        if not {"apiVersion", "kind"} <= r.inputs.keys():
            found.append(f"{label} has no apiVersion or kind")
            continue
        metadata = r.inputs.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):
            found.append(f"{label} has no metadata.name; give it one, or a content-hashed one")
            continue
        identity = ObjectId.of(r.inputs)
        if identity in seen:
            found.append(f"{identity} is registered twice, as {seen[identity]} and as {r.name}")
        seen[identity] = r.name
        if r.secret_paths and identity.kind != "Secret":
            where = ", ".join(sorted(".".join(p) for p in r.secret_paths))
            found.append(f"{identity} holds a secret value in its {where}; put it into a Secret and refer to that")
    return found
