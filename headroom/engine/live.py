"""Objects on a cluster: read, apply on the server's side, delete. Content goes to kubectl through stdin only."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from headroom.engine.rendered import Manifest, ObjectId
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl

MANAGER = "headroom"
OWNER = "headroom.dev/stack"
_MINUTES = 300


@dataclass(frozen=True)
class Applied:
    """The objects as the API server has them now (or, in a dry run, would have them), and what it warned of."""

    objects: tuple[Manifest, ...]
    warnings: tuple[str, ...]


class Rejected(Exception):
    """The API server refused what was applied; `str()` is its reason, which may name fields but holds no values of
    Secrets."""


def read(kubectl: Kubectl, ids: Iterable[ObjectId]) -> dict[ObjectId, Manifest]:
    """Those of the objects that exist. Their kinds must be served."""
    stubs = [i.stub() for i in ids]
    if not stubs:
        return {}
    out = kubectl.run(
        *("get", "-f", "-", "-o", "json", "--ignore-not-found"),
        stdin=json.dumps(_list(stubs)),
        timeout=_MINUTES,
    ).stdout
    return {ObjectId.of(o): o for o in _objects(out)}


def apply(kubectl: Kubectl, manifests: Sequence[Manifest], *, dry_run: bool = False, manager: str = MANAGER) -> Applied:
    """Server-side apply as field manager `headroom` (or another), in the order given.

    Fields that others own are taken over: the stack file is the source of truth for what it names, and leaves alone
    what it does not name (the replicas of an autoscaled workload).

    Raises Rejected when the API server refuses one; others may have been applied.
    """
    if not manifests:
        return Applied((), ())
    done = kubectl.run(
        *("apply", "--server-side", "--force-conflicts", f"--field-manager={manager}", "-o", "json", "-f", "-"),
        *(["--dry-run=server"] if dry_run else []),
        stdin=json.dumps(_list([sendable(m) for m in manifests])),
        timeout=_MINUTES,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    warnings = tuple(line.removeprefix("Warning:").strip() for line in lines if line.startswith("Warning:"))
    if done.returncode != 0:
        said = [_without_values(line) for line in lines if not line.startswith("Warning:")]
        raise Rejected("\n".join(said) or f"kubectl apply failed with exit code {done.returncode}")
    return Applied(tuple(_objects(done.stdout)), warnings)


def delete(kubectl: Kubectl, ids: Sequence[ObjectId], *, foreground: bool = False) -> None:
    """Ask for the deletion of objects, without waiting. With `foreground` they stay until their pods are gone.

    Raises EnvironmentFailure when the API server refuses.
    """
    if not ids:
        return
    kubectl.run(
        *("delete", "-f", "-", "--ignore-not-found", "--wait=false"),
        f"--cascade={'foreground' if foreground else 'background'}",
        stdin=json.dumps(_list([i.stub() for i in ids])),
        timeout=_MINUTES,
    )


def marked(manifest: Manifest, stack: str) -> Manifest:
    """The manifest with the annotation that says whose it is. On the object only: pods do not roll for it."""
    metadata = manifest["metadata"]
    annotations = {**(metadata.get("annotations") or {}), OWNER: stack}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def ours(live: Manifest, stack: str) -> bool:
    """Whether this engine applied the object for the stack: what somebody else made under the same name is never
    deleted."""
    return (live["metadata"].get("annotations") or {}).get(OWNER) == stack


def sendable(manifest: Manifest) -> Manifest:
    """The manifest as it is sent. A Secret's `stringData` becomes `data`: the API server forgets who owns a key of the
    former, so a key taken away would stay."""
    plain = manifest.get("stringData")
    if manifest["kind"] != "Secret" or not plain:
        return manifest
    encoded = {k: base64.b64encode(str(v).encode()).decode() for k, v in plain.items()}
    rest = {k: v for k, v in manifest.items() if k != "stringData"}
    return {**rest, "data": {**(manifest.get("data") or {}), **encoded}}


def served_kinds(kubectl: Kubectl, api_version: str) -> frozenset[str]:
    """The kinds that the API server knows in a version; empty when it does not serve that version.

    Raises EnvironmentFailure when there is no answer.
    """
    path = f"/api/{api_version}" if "/" not in api_version else f"/apis/{api_version}"
    answer = kubectl.raw(path)
    if answer.returncode != 0:
        said = answer.stderr.strip()
        if "NotFound" in said or "could not find the requested resource" in said or "ServiceUnavailable" in said:
            return frozenset()
        kubectl.run("get", "--raw", "/version")  # unreachable: fails with the usual words and fix
        raise EnvironmentFailure(f"the API server did not answer {path}: {said}")
    return frozenset(r["kind"] for r in json.loads(answer.stdout).get("resources") or [] if "/" not in r["name"])


def _without_values(line: str) -> str:
    """A reason without the pod templates that the API server quotes in full (`Invalid value: {…}`)."""
    return re.sub(r"Invalid value: (?:[\w.]+)?\{.*\}: ", "", line)


def _list(manifests: Sequence[Manifest]) -> Manifest:
    return {"apiVersion": "v1", "kind": "List", "items": list(manifests)}


def _objects(text: str) -> list[Manifest]:
    if not text.strip():
        return []
    answer: Any = json.loads(text)
    return list(answer["items"]) if answer["kind"] == "List" else [answer]
