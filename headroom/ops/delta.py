"""The objects that an edit of the stack file changes, put on the cluster at once: what `headroom up` would do for that
edit, and nothing else that waits to be deployed.

Both texts are rendered by the program, so the next `up` finds everything as it wants it, under either engine. Only
what differs between the renderings is sent; every other field is sent as it is live. Objects are applied in the name of
the field manager that has them already, so that neither engine later finds its fields taken.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from headroom.engine import live, record, rollout
from headroom.engine.quota import with_former_room
from headroom.engine.record import Entry
from headroom.engine.render import render
from headroom.engine.rendered import Manifest, ObjectId, Rendered, RenderedObject
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops import deploy
from headroom.ops.deploy import Request
from headroom.ops.draft import Draft
from headroom.progress import Progress, Silent, step

PULUMI = "pulumi-kubernetes"
READY_SECONDS = 600.0
_UNWAITED = frozenset({"HorizontalPodAutoscaler", "ScaledObject"})


@dataclass(frozen=True)
class Delta:
    """What differs between two renderings: how objects were, how they will be (in the order to apply), which go."""

    stack: str
    before: Mapping[ObjectId, Manifest]
    changed: tuple[RenderedObject, ...]
    removed: tuple[RenderedObject, ...]
    after: Mapping[ObjectId, RenderedObject]

    def without(self, *kinds: str) -> Delta:
        """The same, leaving some kinds as they are."""
        return replace(self, changed=tuple(o for o in self.changed if o.id.kind not in kinds))

    def find(self, kind: str, name: str) -> RenderedObject | None:
        """An object as it will be, changed or not."""
        return next((o for i, o in self.after.items() if (i.kind, i.name) == (kind, name)), None)

    def lines(self) -> list[str]:
        """One line an object, for a person."""
        new = [f"{'change' if o.id in self.before else 'create'} {o.id}" for o in self.changed]
        return [*new, *(f"delete {o.id}" for o in self.removed)]


def between(request: Request, draft: Draft, progress: Progress, *, built: bool = False) -> Delta:
    """The delta of an edit. `built` texts name images as they are on the cluster, others as a person does.

    Raises InputError for a text that cannot be deployed.
    """
    with draft.files() as files, step(progress, "rendering the stack before and after", "rendered before and after"):
        old, new = (_rendered(replace(request, file=file), built) for file in files)
    return compare(old, new)


def compare(old: Rendered, new: Rendered) -> Delta:
    """The delta of two renderings. Secrets are left alone: no text holds their values."""
    was = {o.id: o.manifest for o in old.objects}
    wanted = {o.id for o in new.objects}
    changed = [o for o in new.objects if not o.is_secret and was.get(o.id) != o.manifest]
    removed = [o for o in reversed(old.objects) if o.id not in wanted and not record.retained(o.id, o.retain)]
    return Delta(new.stack, was, tuple(changed), tuple(removed), {o.id: o for o in new.objects})


def _rendered(request: Request, built: bool) -> Rendered:
    plain = replace(deploy.bare(request), config_file=request.file)
    deployment = plain if built else deploy.prepare(request, Silent())
    return render(
        deployment.project, deployment.stack, config_file=deployment.config_file, secrets=deployment.secrets or None
    )


def carried(found: Any, before: Any, after: Any) -> Any:
    """`after`, with the live value wherever the two renderings say the same.

    So a password's fingerprint that is not known here stays as it is, and so does what waits for the next `up`.
    """
    if isinstance(after, dict) and isinstance(found, dict):
        was = before if isinstance(before, dict) else {}
        return {k: carried(found[k], was[k], v) if k in found and k in was else v for k, v in after.items()}
    if isinstance(after, list) and isinstance(found, list) and isinstance(before, list):
        if len(after) == len(found) == len(before):
            return [carried(*three) for three in zip(found, before, after, strict=True)]
        return after
    return found if before == after else after


def check(kubectl: Kubectl, delta: Delta) -> None:
    """Have the API server check all of it without doing any. Raises EnvironmentFailure with its reason."""
    there = _live(kubectl, delta.changed)
    try:
        _send(kubectl, delta.stack, _prepared(delta, delta.changed, there), there, dry_run=True)
    except live.Rejected as error:
        raise EnvironmentFailure(f"the API server refuses it, and nothing was changed: {error}") from error


def apply(kubectl: Kubectl, delta: Delta, progress: Progress, seconds: float = READY_SECONDS) -> None:
    """Apply what changed, wave by wave, each ready before the next but for the last, which is the caller's to wait for.

    Nothing is removed yet. When the API server refuses something, an earlier wave does not get ready, or Ctrl-C comes,
    what was applied is set back.

    Raises EnvironmentFailure.
    """
    there = _live(kubectl, delta.changed)
    given, delta = delta, replace(delta, changed=tuple(_roomy(o, delta) for o in delta.changed))
    waves = sorted({o.wave for o in delta.changed})
    done: list[RenderedObject] = []
    try:
        for wave in waves:
            objects = [o for o in delta.changed if o.wave == wave]
            done += objects
            _send(kubectl, delta.stack, _prepared(delta, objects, there), there)
            ids = [o.id for o in objects if o.id.kind not in _UNWAITED]
            if wave != waves[-1] and ids:
                rollout.until_ready(kubectl, ids, seconds, progress)
    except BaseException as error:
        with step(progress, "setting back what was applied"):
            _undo(kubectl, delta, done, there)
        if isinstance(error, live.Rejected):
            raise EnvironmentFailure(f"the API server refuses it; all is as it was: {error}") from error
        raise
    _adopt(kubectl, given, [o for o in given.changed if o.id not in there])


def settle(kubectl: Kubectl, delta: Delta) -> None:
    """Quotas that shrink, once nothing needs their former room any more."""
    put(kubectl, delta.stack, [o for o in delta.changed if _roomy(o, delta) is not o])


def _roomy(o: RenderedObject, delta: Delta) -> RenderedObject:
    return with_former_room(o, delta.before.get(o.id))


def put(kubectl: Kubectl, stack: str, objects: Sequence[RenderedObject]) -> None:
    """Apply some objects just as they are. Raises EnvironmentFailure."""
    there = _live(kubectl, objects)
    try:
        _send(kubectl, stack, [(o.id, o.manifest) for o in objects], there)
    except live.Rejected as error:
        raise EnvironmentFailure(f"the API server refuses it: {error}") from error


def remove(kubectl: Kubectl, delta: Delta, progress: Progress, seconds: float = 300.0) -> None:
    """Once all is ready: shrink what may shrink, delete what the edit took away, and wait until it is gone."""
    settle(kubectl, delta)
    ids = [o.id for o in delta.removed]
    if not ids:
        return
    with step(progress, f"removing {_named(ids)}", f"{_named(ids)} gone"):
        live.delete(kubectl, ids, foreground=True)
        rollout.until_gone(kubectl, ids, seconds, progress)
    for found in record.find(kubectl, delta.stack):
        entries = tuple(e for e in found.entries if e.id not in set(ids))
        if found.stack == delta.stack and entries != found.entries:
            record.write(kubectl, replace(found, entries=entries))


def ready(kubectl: Kubectl, ids: Iterable[ObjectId], progress: Progress, seconds: float = READY_SECONDS) -> None:
    """Wait for objects, autoscalers left out. Raises EnvironmentFailure with a diagnosis."""
    rollout.until_ready(kubectl, [i for i in ids if i.kind not in _UNWAITED], seconds, progress)


_Prepared = list[tuple[ObjectId, Manifest]]


def _prepared(delta: Delta, objects: Sequence[RenderedObject], there: Mapping[ObjectId, Manifest]) -> _Prepared:
    return [
        (o.id, carried(there[o.id], delta.before[o.id], o.manifest))
        if o.id in there and o.id in delta.before
        else (o.id, o.manifest)
        for o in objects
    ]


def _undo(
    kubectl: Kubectl, delta: Delta, objects: Sequence[RenderedObject], there: Mapping[ObjectId, Manifest]
) -> None:
    """Objects as they were found; those that were not there go."""
    old = [o.id for o in objects if o.id in there and o.id in delta.before]
    _send(kubectl, delta.stack, [(i, carried(there[i], delta.before[i], delta.before[i])) for i in old], there)
    live.delete(kubectl, [o.id for o in objects if o.id not in there])


def _send(
    kubectl: Kubectl,
    stack: str,
    manifests: _Prepared,
    there: Mapping[ObjectId, Manifest],
    *,
    dry_run: bool = False,
) -> None:
    """One call a field manager. Raises live.Rejected."""
    groups: dict[str, list[Manifest]] = {}
    for identity, manifest in manifests:
        manager = manager_of(there[identity]) if identity in there else live.MANAGER
        ours = live.marked(manifest, stack) if manager == live.MANAGER else manifest
        groups.setdefault(manager, []).append(ours)
    for manager, some in groups.items():
        live.apply(kubectl, some, dry_run=dry_run, manager=manager)


def _live(kubectl: Kubectl, objects: Sequence[RenderedObject]) -> dict[ObjectId, Manifest]:
    if not objects:
        return {}
    text = kubectl.run(
        *("get", "-f", "-", "-o", "json", "--ignore-not-found", "--show-managed-fields"),
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [o.id.stub() for o in objects]}),
    ).stdout
    answer: Any = json.loads(text) if text.strip() else {"kind": "List", "items": []}
    found: list[Manifest] = answer["items"] if answer["kind"] == "List" else [answer]
    return {ObjectId.of(o): o for o in found}


def manager_of(found: Manifest) -> str:
    """The field manager that applies an object: Pulumi's own name for it, else ours."""
    entries = found["metadata"].get("managedFields") or []
    names = [e["manager"] for e in entries if e.get("operation") == "Apply" and e.get("manager", "").startswith(PULUMI)]
    return str(names[0]) if names else live.MANAGER


def _adopt(kubectl: Kubectl, delta: Delta, new: Sequence[RenderedObject]) -> None:
    """New objects become the engine's: the kubectl engine prunes what its record names; Pulumi takes up what it finds,
    and must not find it in somebody's name."""
    if not new:
        return
    records = [r for r in record.find(kubectl, delta.stack) if r.stack == delta.stack]
    for found in records:
        entries = [Entry(o.id, o.wave, record.retained(o.id, o.retain), o.protect) for o in new]
        if (joined := found.joined(entries)) != found:
            record.write(kubectl, joined)
    for o in new if not records else []:
        where = ["-n", o.id.namespace] if o.id.namespace else []
        patch = json.dumps({"metadata": {"managedFields": [{}]}})
        kubectl.run("patch", o.id.kind, o.id.name, *where, "--type=merge", "-p", patch)


def _named(ids: Sequence[ObjectId]) -> str:
    return ", ".join(f"{i.kind.lower()}/{i.name}" for i in ids[:3]) + (f" and {len(ids) - 3} more" if ids[3:] else "")
