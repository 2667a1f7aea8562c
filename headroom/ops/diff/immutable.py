"""Which edits of an object cannot be made in place, so that the engine deletes the object and makes a new one.

Sources: the API server's update validation (StatefulSet, PersistentVolumeClaim, Job, selectors, roleRef) and the fields
for which the Kubernetes provider of Pulumi forces a replacement.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

Path = tuple[str | int, ...]

STATEFUL_SET_MUTABLE = frozenset(
    {"replicas", "template", "updateStrategy", "persistentVolumeClaimRetentionPolicy", "minReadySeconds", "ordinals"}
)
CLAIM_MUTABLE = frozenset({"resources", "volumeAttributesClassName"})
JOB_MUTABLE = frozenset(
    {"suspend", "ttlSecondsAfterFinished", "activeDeadlineSeconds", "backoffLimit", "podFailurePolicy"}
)
_FIXED_FIELDS: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("selector",),
    "DaemonSet": ("selector",),
    "Service": ("clusterIP",),
    "ResourceQuota": ("scopes",),
}
_WHOLE_OBJECT: Mapping[str, tuple[str, ...]] = {
    "RoleBinding": ("roleRef",),
    "ClusterRoleBinding": ("roleRef",),
    "StorageClass": ("parameters", "provisioner"),
    "Secret": ("type",),
}


def replacing(before: Mapping[str, Any], after: Mapping[str, Any], replace_on_changes: Iterable[str] = ()) -> list[str]:
    """The fields, as dotted paths, whose change replaces the object; empty when it can be updated in place.

    `replace_on_changes` are property paths of the same-named Pulumi option (`spec.replicas`, `spec.*`, `*`).
    """
    kind = str(after.get("kind"))
    old, new = before.get("spec") or {}, after.get("spec") or {}
    changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    if kind == "StatefulSet":
        fields = changed - STATEFUL_SET_MUTABLE
    elif kind == "PersistentVolumeClaim":
        fields = changed - CLAIM_MUTABLE
    elif kind == "Job":
        fields = changed - JOB_MUTABLE
    else:
        fields = changed & set(_FIXED_FIELDS.get(kind, ()))
        # Going from an address of the cluster's choice to silence is no change.
        if kind == "Service" and "None" not in (old.get("clusterIP"), new.get("clusterIP")):
            fields.discard("clusterIP")
    found = [f"spec.{key}" for key in sorted(fields)]
    found += [key for key in _WHOLE_OBJECT.get(kind, ()) if before.get(key) != after.get(key)]
    found += list(_frozen_data(kind, before, after))
    return [*found, *(p for p in _on_request(before, after, replace_on_changes) if p not in found)]


def _frozen_data(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    """The data of a ConfigMap that was declared immutable."""
    if kind == "ConfigMap" and before.get("immutable"):
        yield from (key for key in ("data", "binaryData", "immutable") if before.get(key) != after.get(key))


def _on_request(before: Mapping[str, Any], after: Mapping[str, Any], patterns: Iterable[str]) -> Iterable[str]:
    wanted = list(patterns)
    if not wanted:
        return
    for path in changed_paths(before, after):
        dotted = ".".join("*" if isinstance(step, int) else step for step in path)
        if any(_covers(pattern, dotted) for pattern in wanted):
            yield dotted


def _covers(pattern: str, dotted: str) -> bool:
    """Whether a property path names this one or something above it; `*` stands for one step, and alone for all."""
    if pattern == "*":
        return True
    steps = [s for s in re.split(r"\.|\[|\]", pattern.replace('"', "")) if s]
    have = dotted.split(".")
    return len(have) >= len(steps) and all(want in ("*", got) for want, got in zip(steps, have, strict=False))


def changed_paths(before: Any, after: Any, at: Path = ()) -> list[Path]:
    """The paths of all leaves that differ between two trees of mappings, lists and scalars."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return [
            path
            for key in sorted({*before, *after}, key=str)
            for path in changed_paths(before.get(key), after.get(key), (*at, str(key)))
        ]
    if isinstance(before, list | tuple) and isinstance(after, list | tuple) and len(before) == len(after):
        return [
            path for i, pair in enumerate(zip(before, after, strict=True)) for path in changed_paths(*pair, (*at, i))
        ]
    return [] if before == after else [at]
