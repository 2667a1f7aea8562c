"""What was deployed and whether it got ready: the last stack files of a stack, kept for `headroom rollback`.

A ConfigMap `headroom-history` in the stack's namespace. A text is kept as a person wrote it and as it was deployed
(which differs in the names of images that were built here), secrets and all, since a rollback writes it back: a stack
file with a secret that is not encrypted is refused when it is read.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from headroom.engine import live
from headroom.errors import EnvironmentFailure, HeadroomError
from headroom.kubectl import Kubectl
from headroom.ops import deploy
from headroom.ops import draft as drafts
from headroom.ops.deploy import Request
from headroom.progress import Silent

NAME = "headroom-history"
MOST = 10
State = Literal["applying", "healthy", "failed", "left"]


@dataclass(frozen=True)
class Revision:
    """One deployment. `state` is `left` once it was rolled back from; `what` is the command; `at` is ISO time, UTC."""

    number: int
    at: str
    what: str
    state: State
    text: str
    deployed: str

    def same(self, other: Revision) -> bool:
        """Whether both deploy the same."""
        return (self.text, self.deployed) == (other.text, other.deployed)


def read(kubectl: Kubectl, namespace: str) -> tuple[Revision, ...]:
    """The revisions, oldest first; none where nothing was recorded."""
    found = kubectl.find("configmap", NAME, namespace)
    try:
        return tuple(sorted((_unpacked(v) for v in ((found or {}).get("data") or {}).values()), key=lambda r: r.number))
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise EnvironmentFailure(
            f"configmap/{NAME} in {namespace} cannot be read", fix=f"kubectl delete configmap {NAME} -n {namespace}"
        ) from error


def texts(request: Request) -> tuple[str, str]:
    """A stack file as a person wrote it, and as it is deployed. Raises InputError for one that cannot work."""
    deployed = deploy.prepare(request, Silent()).config_file or request.file
    return request.file.read_text(encoding="utf-8"), deployed.read_text(encoding="utf-8")


def refuse_edits(request: Request, namespace: str) -> None:
    """Raises InputError when the stack file holds edits that are neither committed to git nor deployed."""
    if drafts.in_the_way(request.file):
        got_ready = [r.text for r in read(request.target.kubectl, namespace) if r.state == "healthy"]
        drafts.refuse_if_in_the_way(request.file, got_ready[-1] if got_ready else None)


def current(revisions: Sequence[Revision]) -> Revision | None:
    """What was deployed last, ready or not."""
    return revisions[-1] if revisions else None


@contextmanager
def deploying(
    kubectl: Kubectl, stack: str, namespace: str, what: str, *, text: str, deployed: str, leaving: int | None = None
) -> Iterator[None]:
    """Around a deployment: it is `applying`, then `healthy` or `failed`. The same again makes no new revision.

    `leaving` is the number of the revision that a rollback leaves: it is not gone back to by itself.
    """
    before = _marked(read(kubectl, namespace), leaving, "left")
    last = current(before)
    fresh = Revision((last.number + 1) if last else 1, _now(), what, "applying", text, deployed)
    if last is not None and last.same(fresh):
        before, fresh = before[:-1], replace(last, state=last.state if last.state == "healthy" else "applying")
    there = kubectl.run("get", "namespace", namespace, "-o", "name", "--ignore-not-found").stdout.strip()
    if there and fresh.state != "healthy":
        _write(kubectl, stack, namespace, (*before, fresh))
    try:
        yield
    except BaseException:
        if there:
            with suppress(HeadroomError):  # the cluster may be what failed
                _write(kubectl, stack, namespace, (*before, replace(fresh, state="failed")))
        raise
    if fresh.state != "healthy":
        _write(kubectl, stack, namespace, (*before, replace(fresh, state="healthy")))


def forget(kubectl: Kubectl, namespace: str) -> None:
    """Take the history off the cluster, for a stack that is taken down."""
    kubectl.run("delete", "configmap", NAME, "-n", namespace, "--ignore-not-found", check=False)


def _marked(revisions: tuple[Revision, ...], number: int | None, state: State) -> tuple[Revision, ...]:
    return tuple(replace(r, state=state) if r.number == number else r for r in revisions)


def _write(kubectl: Kubectl, stack: str, namespace: str, revisions: Sequence[Revision]) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": NAME,
            "namespace": namespace,
            "labels": {"app": NAME, "app.kubernetes.io/managed-by": "headroom", "headroom.dev/history": stack},
        },
        "data": {f"{r.number:06d}": _packed(r) for r in revisions[-MOST:]},
    }
    try:
        live.apply(kubectl, [manifest])
    except live.Rejected as error:
        raise EnvironmentFailure(f"the history of stack {stack} cannot be written: {error}") from error


def _packed(revision: Revision) -> str:
    texts = {k: base64.b64encode(gzip.compress(getattr(revision, k).encode(), mtime=0)).decode() for k in _TEXTS}
    return json.dumps({**asdict(revision), **texts})


def _unpacked(text: str) -> Revision:
    raw = json.loads(text)
    texts = {k: gzip.decompress(base64.b64decode(raw[k])).decode() for k in _TEXTS}
    return Revision(**{**raw, **texts})


_TEXTS = ("text", "deployed")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
