"""What applying a rendering would change, asked of the API server itself by a dry run."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from headroom.engine import fields, fixed, live, readiness
from headroom.engine.model import Action, Change, Changes, FieldChange
from headroom.engine.record import Record, retained
from headroom.engine.rendered import Manifest, ObjectId, Rendered, RenderedObject
from headroom.kubectl import Kubectl

_IMMUTABLE = re.compile(
    r"immutable|updates to \w+ spec for fields other than|may not be changed|cannot be changed", re.I
)
FAILED_JOB = "it failed, and is tried again"
_ELSEWHERE = "default"  # a namespace that every cluster has


@dataclass(frozen=True)
class Planned:
    """`actions` of the rendered objects, `deletions` of those that the stack had and has no more (last first), the
    same as `changes` for people, and the objects as they were found."""

    actions: dict[ObjectId, Action]
    deletions: tuple[ObjectId, ...]
    changes: Changes
    found: dict[ObjectId, Manifest]


def plan(kubectl: Kubectl, rendered: Rendered, record: Record | None) -> Planned:
    """Compare a rendering with the cluster. Touches nothing.

    Objects whose namespace does not exist yet are checked by a dry run in another namespace, which sees all but that
    namespace's own quota and policies.
    """
    rooms = {ObjectId("v1", "Namespace", "", o.id.namespace) for o in rendered.objects if o.id.namespace}
    found = live.read(kubectl, sorted({o.id for o in rendered.objects} | rooms))
    there = {r.name for r in rooms if r in found}
    manifests = [live.marked(_checkable(o, there), rendered.stack) for o in rendered.objects]
    answers, warnings = _dry_run(kubectl, manifests)
    items: list[Change] = []
    for o, answer in zip(rendered.objects, answers, strict=True):
        items.append(_change(o, found.get(o.id), answer))
    deletions = _deletions(kubectl, rendered, record)
    items += [_named("delete", identity) for identity in deletions]
    actions = {o.id: c.action for o, c in zip(rendered.objects, items, strict=False)}
    return Planned(actions, deletions, Changes(tuple(items), (*rendered.warnings, *warnings)), found)


def _checkable(o: RenderedObject, namespaces: Iterable[str]) -> Manifest:
    if not o.id.namespace or o.id.namespace in namespaces:
        return o.manifest
    return {**o.manifest, "metadata": {**o.manifest["metadata"], "namespace": _ELSEWHERE}}


def _dry_run(kubectl: Kubectl, manifests: Sequence[Manifest]) -> tuple[list[Manifest | str], tuple[str, ...]]:
    """For each manifest what it would become, or why it is refused."""
    try:
        applied = live.apply(kubectl, manifests, dry_run=True)
        if len(applied.objects) == len(manifests):
            return list(applied.objects), applied.warnings
    except live.Rejected as error:
        if len(manifests) == 1:
            return [str(error)], ()
    # One refusal hides all answers of a call: ask by halves.
    half = len(manifests) // 2
    with ThreadPoolExecutor(2) as pool:
        parts = list(pool.map(lambda part: _dry_run(kubectl, part), (manifests[:half], manifests[half:])))
    return [a for answers, _ in parts for a in answers], tuple(w for _, warnings in parts for w in warnings)


def _change(o: RenderedObject, before: Manifest | None, answer: Manifest | str) -> Change:
    if isinstance(answer, str):
        return _refusal(o, before, answer)
    if before is None:
        return _named("create", o.id)
    if why := fixed.reason(o.manifest, before):
        return _named("refused", o.id, reason=why)
    found = fields.changed(*_without_others(o, before, answer))
    if _failed_job(before):
        return _replacement(o, found, FAILED_JOB)
    forcing = [f.path for f in found if fields.forces_replacement(f, o.replace_on_changes)]
    if forcing:
        return _replacement(o, found, f"{', '.join(forcing)} cannot change in place")
    return _named("update" if found else "unchanged", o.id, found)


def _without_others(o: RenderedObject, before: Manifest, answer: Manifest) -> tuple[Manifest, Manifest]:
    """Both without the annotations that are somebody else's (a leader renews its lock in one): those move between our
    two looks, and we leave them alone."""
    mine = {*(o.manifest["metadata"].get("annotations") or {}), live.OWNER}
    theirs = (answer["metadata"].get("annotations") or {}).keys() - mine
    return _less(before, theirs), _less(answer, theirs)


def _less(manifest: Manifest, annotations: Iterable[str]) -> Manifest:
    metadata = manifest["metadata"]
    gone = set(annotations)
    kept = {k: v for k, v in (metadata.get("annotations") or {}).items() if k not in gone}
    return {**manifest, "metadata": {**metadata, "annotations": kept}}


def _refusal(o: RenderedObject, before: Manifest | None, said: str) -> Change:
    if before is None or not _IMMUTABLE.search(said):
        return _named("refused", o.id, reason=_reason(said))
    reason = fixed.reason(o.manifest, before) or _reason(said)
    if _failed_job(before):
        return _replacement(o, (), FAILED_JOB)
    if o.delete_before_replace or o.replace_on_changes:
        return _replacement(o, (), reason)
    return _named("refused", o.id, reason=reason)


def _failed_job(before: Manifest) -> bool:
    """A Job that has failed stays failed: whoever runs the same command again means another try."""
    return before["kind"] == "Job" and readiness.of(before).verdict == "failed"


def _replacement(o: RenderedObject, found: tuple[FieldChange, ...], reason: str) -> Change:
    if retained(o.id, o.retain) or o.protect:
        return _named("refused", o.id, found, f"{reason}, and it is kept for its data")
    return _named("replace", o.id, found, reason)


def _deletions(kubectl: Kubectl, rendered: Rendered, record: Record | None) -> tuple[ObjectId, ...]:
    wanted = {o.id for o in rendered.objects}
    gone = [e for e in (record.entries if record else ()) if e.id not in wanted and not e.retain]
    if not gone:
        return ()
    exist = existing(kubectl, [e.id for e in gone])
    return tuple(
        e.id
        for e in sorted(gone, key=lambda e: (-e.wave, e.id))
        if e.id in exist and live.ours(exist[e.id], rendered.stack)
    )


def existing(kubectl: Kubectl, ids: Sequence[ObjectId]) -> dict[ObjectId, Manifest]:
    """Those that exist, also when kinds among them are not served any more."""
    served = {v: live.served_kinds(kubectl, v) for v in {i.api_version for i in ids}}
    return live.read(kubectl, [i for i in ids if i.kind in served[i.api_version]])


def _named(action: Action, i: ObjectId, found: tuple[FieldChange, ...] = (), reason: str = "") -> Change:
    return Change(action, i.kind, i.namespace, i.name, found, reason)


def _reason(said: str) -> str:
    """The API server's reason without kubectl's frame around it."""
    return re.sub(r'^(Error from server(?: \(\w+\))?: )?(error when \w+ "[^"]*": )?', "", said.splitlines()[0]).strip()
