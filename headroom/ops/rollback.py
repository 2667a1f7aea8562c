"""Going back to the last deployment that got ready, of a whole stack or of one service.

The stack's history (`headroom.ops.history`) has the stack files that were deployed and whether they got ready. What is
gone back to is written into the stack file, so that the next `up` does not bring the broken one again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from headroom.engine.model import Deployment, Engine
from headroom.errors import InputError
from headroom.ops import delta as deltas
from headroom.ops import deploy, history, live_service, splice
from headroom.ops import draft as drafts
from headroom.ops.delta import Delta
from headroom.ops.deploy import Request
from headroom.ops.draft import SERVICES, Draft
from headroom.ops.history import Revision
from headroom.progress import Progress, step

ROLLBACK = "rollback"


@dataclass(frozen=True)
class Point:
    """From which revision to which, of the stack in `namespace`."""

    current: Revision
    target: Revision
    namespace: str


def find(request: Request, service: str | None = None, to: int | None = None) -> Point:
    """Where a rollback leads. Raises InputError where there is nothing to go back to."""
    room = namespace(request)
    revisions = history.read(request.target.kubectl, room)
    current = history.current(revisions)
    if current is None:
        raise InputError(
            f"no deployment of stack {request.stack} is recorded in namespace {room}",
            fix="`headroom up` records each; what a bare pulumi up made goes back with git and pulumi up, and a single "
            "service with headroom rollback SERVICE",
        )
    return Point(current, choose(revisions, service, to), room)


def choose(revisions: Sequence[Revision], service: str | None = None, to: int | None = None) -> Revision:
    """The newest revision that got ready and differs from the current one (in `service`, where one is named); or `to`.

    A rollback that did not get to its end is taken up again. Raises InputError.
    """
    current = revisions[-1]
    if to is not None:
        named = next((r for r in revisions if r.number == to), None)
        if named is None:
            numbers = ", ".join(str(r.number) for r in revisions)
            raise InputError(
                f"there is no revision {to} any more", fix=f"one of {numbers}; see headroom rollback --list"
            )
        return named
    if current.what == ROLLBACK and current.state != "healthy":
        return current
    for revision in reversed(revisions[:-1]):
        if revision.state == "healthy" and _differs(revision, current, service):
            return revision
    what = f"of {service} " if service else ""
    raise InputError(
        f"there is no earlier deployment {what}that got ready", fix="headroom rollback --list shows what is recorded"
    )


def _differs(one: Revision, other: Revision, service: str | None) -> bool:
    if service is None:
        return not one.same(other)
    path = (*SERVICES, service)
    was = splice.get(one.deployed, path)
    return was is not None and was != splice.get(other.deployed, path)


def refuse_if_edited(request: Request, point: Point) -> None:
    """The stack file is about to be replaced: edits that are neither committed nor deployed would be lost."""
    drafts.refuse_if_in_the_way(request.file, point.current.text)


@contextmanager
def deployment(request: Request, point: Point) -> Iterator[Deployment]:
    """The revision as an engine deploys it: with the images that it had."""
    draft = Draft(request.stack, request.file, point.current.text, point.target.deployed, lambda t: t)
    with draft.files() as (_, file):
        yield replace(deploy.bare(request), config_file=file)


def stack(request: Request, point: Point, what: Deployment, engine: Engine, progress: Progress) -> float:
    """Deploy the revision again. Returns seconds.

    The file is written first, after a preview that the API server agreed with: stopped on the way, `headroom up` or
    the same command goes on.
    """
    started = time.monotonic()
    draft = Draft.of(request.stack, request.file, lambda _: point.target.text)
    with draft.writing() as commit:
        commit()
    with history.deploying(
        request.target.kubectl,
        request.stack,
        point.namespace,
        ROLLBACK,
        text=point.target.text,
        deployed=point.target.deployed,
        leaving=point.current.number,
    ):
        engine.up(what, progress)
    return time.monotonic() - started


@dataclass(frozen=True)
class ServiceChange:
    """One service going back: the stack file's edit, and the objects."""

    service: str
    draft: Draft
    deployed: str
    delta: Delta


def preview_service(request: Request, point: Point, service: str, progress: Progress) -> ServiceChange:
    """What going back changes for one service; the rest of the stack stays as it is. Raises InputError."""
    path = (*SERVICES, service)
    draft = Draft.of(request.stack, request.file, lambda text: splice.replaced(text, path, point.target.text))
    before = point.current.deployed
    built = Draft(
        request.stack, request.file, before, splice.replaced(before, path, point.target.deployed), lambda t: t
    )
    draft.plan()
    return ServiceChange(service, draft, built.after, deltas.between(request, built, progress, built=True))


def one_service(request: Request, point: Point, change: ServiceChange, progress: Progress) -> float:
    """Put the service back, and wait until it is ready. Returns seconds. Raises EnvironmentFailure."""
    started = time.monotonic()
    kubectl, delta = request.target.kubectl, change.delta
    plan = live_service.planned(change.draft.plan(), change.service)
    with history.deploying(
        kubectl,
        request.stack,
        point.namespace,
        ROLLBACK,
        text=change.draft.after,
        deployed=change.deployed,
        leaving=point.current.number,
    ):
        with change.draft.writing() as commit, step(progress, "telling the API", "the API has it"):
            deltas.check(kubectl, delta)
            deltas.apply(kubectl, delta, progress)
            commit()
        live = live_service.find(kubectl, request.stack, change.service, plan.namespace)
        least, most = plan.min_replicas.value, plan.max_replicas.value
        if not least <= live.replicas <= most and not plan.maintenance:
            live_service.set_replicas(kubectl, live, min(max(live.replicas, least), most))
        with step(progress, f"waiting for {change.service}", f"{change.service} is ready"):
            deltas.ready(kubectl, sorted({o.id for o in delta.changed} | {live.deployment}), progress)
        deltas.remove(kubectl, delta, progress)
    return time.monotonic() - started


def namespace(request: Request) -> str:
    """The stack's namespace, from a file that may be the very thing that does not work."""
    try:
        return request.plan().namespace
    except InputError:
        found = splice.get(request.file.read_text(encoding="utf-8"), ("config", "headroom:namespace"))
        return str(found or "headroom")
