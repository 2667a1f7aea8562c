"""The stack record: a ConfigMap `headroom-stack` in the stack's namespace that says what belongs to the stack.

It is written before anything is applied and after everything is pruned, so that an interrupted run is never forgotten.
It lists objects, never their content.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from headroom.engine import live
from headroom.engine.rendered import Manifest, ObjectId, Rendered
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl

NAME = "headroom-stack"
LABEL = "headroom.dev/stack"


@dataclass(frozen=True, order=True)
class Entry:
    """An object of the stack, and what `down` must know of it when the program has forgotten it."""

    id: ObjectId
    wave: int
    retain: bool
    protect: bool


@dataclass(frozen=True)
class Record:
    """`digest` is that of the rendered objects without Secrets; `state` is `applying` until a run has finished."""

    stack: str
    namespace: str
    entries: tuple[Entry, ...]
    digest: str = ""
    state: Literal["applying", "ready"] = "applying"

    def manifest(self) -> Manifest:
        """The ConfigMap."""
        entries = [{**asdict(e.id), "wave": e.wave, "retain": e.retain, "protect": e.protect} for e in self.entries]
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": NAME,
                "namespace": self.namespace,
                "labels": {LABEL: self.stack, "app": NAME, "app.kubernetes.io/managed-by": "headroom"},
            },
            "data": {
                "stack": self.stack,
                "namespace": self.namespace,
                "state": self.state,
                "digest": self.digest,
                "objects": json.dumps(entries, separators=(",", ":")),
            },
        }

    def joined(self, others: Iterable[Entry]) -> Record:
        """With entries of another record added where this one has none for the object."""
        mine = {e.id for e in self.entries}
        return replace(self, entries=tuple(sorted([*self.entries, *(e for e in others if e.id not in mine)])))


def of(rendered: Rendered, namespace: str) -> Record:
    """The record of a rendering, as it is when all is applied."""
    entries = tuple(sorted(Entry(o.id, o.wave, retained(o.id, o.retain), o.protect) for o in rendered.objects))
    content = [o.manifest for o in rendered.objects if not o.is_secret]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return Record(rendered.stack, namespace, entries, digest, "ready")


def retained(identity: ObjectId, retain: bool) -> bool:
    """Whether an object is never deleted on the way. Namespaces and claims hold data, whatever the program says."""
    return retain or identity.kind in ("Namespace", "PersistentVolumeClaim")


def find(kubectl: Kubectl, stack: str, namespace: str | None = None) -> tuple[Record, ...]:
    """The records of all stacks on the cluster. What cannot be read is passed over, for anybody may write a ConfigMap
    in a namespace of theirs.

    Raises EnvironmentFailure when it is the record of `stack`, or that of `namespace`.
    """
    items = kubectl.get("configmaps", "--all-namespaces", "-l", LABEL)["items"]
    found = [_parse(i, stack, namespace) for i in items if i["metadata"]["name"] == NAME]
    return tuple(r for r in found if r is not None)


def write(kubectl: Kubectl, record: Record) -> None:
    """Put the record on the cluster. Raises EnvironmentFailure when the API server refuses it."""
    try:
        live.apply(kubectl, [record.manifest()])
    except live.Rejected as error:
        raise EnvironmentFailure(f"the stack record cannot be written: {error}") from error


def remove(kubectl: Kubectl, record: Record) -> None:
    """Take the record off the cluster."""
    live.delete(kubectl, [ObjectId.of(record.manifest())])


def _parse(manifest: Manifest, stack: str, concerned: str | None) -> Record | None:
    data = manifest.get("data") or {}
    namespace = manifest["metadata"]["namespace"]
    try:
        entries = tuple(sorted(_entry(e) for e in json.loads(data["objects"])))
        return Record(data["stack"], namespace, entries, data.get("digest", ""), data.get("state", "applying"))
    except (KeyError, TypeError, ValueError) as error:
        if stack not in (manifest["metadata"]["labels"][LABEL], data.get("stack")) and namespace != concerned:
            return None
        raise EnvironmentFailure(
            f"the stack record configmap/{NAME} in {namespace} cannot be read",
            fix=f"restore it, or delete it: the next up writes it again, but does not prune what it has forgotten "
            f"(kubectl delete configmap {NAME} -n {namespace})",
        ) from error


def _entry(e: dict[str, Any]) -> Entry:
    identity = ObjectId(e["api_version"], e["kind"], e["namespace"], e["name"])
    return Entry(identity, int(e["wave"]), bool(e["retain"]), bool(e["protect"]))
