"""Two snapshots of one stack, and what lies between them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from headroom.ops.diff import dangers, immutable
from headroom.ops.diff.model import (
    Absent,
    Broken,
    FieldChange,
    Line,
    ObjectChange,
    Operation,
    Rendered,
    SettingChange,
    Snapshot,
    StackDiff,
    State,
)

_HASHED = re.compile(r"^(?P<stem>.+)-[0-9a-f]{6,64}$")
_SILENT = re.compile(r"^metadata\.annotations\.(headroom\.dev/|argocd\.argoproj\.io/sync-wave)")
_ORDER: tuple[Operation, ...] = ("replace", "delete", "release", "update", "create", "note")
_NAMING = ("name", "containerPort", "port", "key", "mountPath")


def compare(before: State, after: State) -> StackDiff:
    """Everything that going from `before` to `after` does to a stack."""
    stack = after.stack
    problems = tuple(
        f"{side}: {state.reason}" + (f" — {state.fix}" if state.fix else "")
        for side, state in (("before the change", before), ("after the change", after))
        if isinstance(state, Broken)
    )
    if problems:
        return StackDiff(stack, problems=problems, before=before, after=after)
    # A stack file that goes deletes nothing: what it deployed stays until `headroom down`.
    if isinstance(after, Absent):
        return StackDiff(stack, dangers=dangers.of_a_removed_stack(stack, before), before=before, after=after)
    old = before if isinstance(before, Snapshot) else Snapshot(stack)
    new = after if isinstance(after, Snapshot) else Snapshot(stack)
    changes = objects(old.objects, new.objects)
    changed = settings(old.lines, new.lines)
    return StackDiff(
        stack,
        settings=changed,
        objects=changes,
        dangers=dangers.find(old, new, changed, changes),
        warnings=tuple(w for w in new.warnings if w not in old.warnings),
        before=before,
        after=after,
    )


def settings(before: Sequence[Line], after: Sequence[Line]) -> tuple[SettingChange, ...]:
    """The settings that differ in value, in the order of the plan; those that are gone come last."""
    old = {(x.component, x.setting): x for x in before}
    new = {(x.component, x.setting): x for x in after}
    return tuple(
        SettingChange(*key, old.get(key), new.get(key))
        for key in [*new, *(k for k in old if k not in new)]
        if key not in old or key not in new or (old[key].value, old[key].unit) != (new[key].value, new[key].unit)
    )


def objects(before: Sequence[Rendered], after: Sequence[Rendered]) -> tuple[ObjectChange, ...]:
    """What happens to each object that does not stay as it is, the gravest operations first."""
    old, new = {o.key: o for o in before}, {o.key: o for o in after}
    gone, come = [o for k, o in old.items() if k not in new], [o for k, o in new.items() if k not in old]
    found = [c for key in old.keys() & new.keys() if (c := _kept(old[key], new[key]))]
    for was in list(gone):
        heir = next((o for o in come if _stem(o) is not None and _stem(o) == _stem(was)), None)
        if heir:
            # Named by content hash: a new object takes over from the old one, and whoever mounts it rolls.
            gone.remove(was)
            come.remove(heir)
            found.append(ObjectChange("update", was, heir, fields(was.manifest, heir.manifest)))
    found += [ObjectChange("release" if o.retain else "delete", o, None) for o in gone]
    found += [ObjectChange("create", None, o) for o in come]
    return tuple(sorted(found, key=lambda c: (_ORDER.index(c.operation), c.object.key)))


def _kept(was: Rendered, now: Rendered) -> ObjectChange | None:
    changed = fields(was.manifest, now.manifest)
    why = immutable.replacing(was.manifest, now.manifest, now.replace_on_changes)
    if was.urn and now.urn and was.urn != now.urn and was.urn not in now.aliases:
        # The engine knows objects by URN: another URN without an alias is a new object and an old one to delete.
        why.append("its name in the program changed without an alias")
    if why:
        return ObjectChange("replace", was, now, changed, tuple(why))
    if not changed:
        return None
    silent = all(_SILENT.match(f.path) for f in changed)
    return ObjectChange("note" if silent else "update", was, now, changed)


def _stem(o: Rendered) -> tuple[str, str, str] | None:
    match = _HASHED.match(o.name)
    return (o.kind, o.namespace, match["stem"]) if match else None


def fields(before: Any, after: Any, at: str = "") -> tuple[FieldChange, ...]:
    """The leaves that differ between two manifests. A whole branch that is new or gone is one change."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return tuple(
            change
            for key in sorted({*before, *after}, key=str)
            for change in fields(before.get(key), after.get(key), f"{at}.{key}" if at else str(key))
        )
    if isinstance(before, list) and isinstance(after, list):
        for naming in _NAMING:
            named = [_named(side, naming) for side in (before, after)]
            if named[0] is not None and named[1] is not None:
                return tuple(
                    change
                    for key in [*named[1], *(k for k in named[0] if k not in named[1])]
                    for change in fields(named[0].get(key), named[1].get(key), f"{at}[{key}]")
                )
        if len(before) == len(after):
            return tuple(
                change
                for i, (b, a) in enumerate(zip(before, after, strict=True))
                for change in fields(b, a, f"{at}[{i}]")
            )
    return () if before == after else (FieldChange(at, before, after),)


def _named(entries: list[Any], naming: str) -> dict[str, Any] | None:
    """A list of mappings by the field that names each; None where that does not tell them apart."""
    if not all(isinstance(e, Mapping) and e.get(naming) is not None for e in entries):
        return None
    by_name = {str(e[naming]): e for e in entries}
    return by_name if len(by_name) == len(entries) else None
