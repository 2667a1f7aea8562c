"""How values, settings and changes read, for the terminal and for Markdown alike."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from headroom.ops.diff import quantity
from headroom.ops.diff.model import Absent, Line, ObjectChange, Operation, SettingChange, Snapshot, StackDiff, State

TOTAL = "total"
P99 = "predictedP99"
COST_AT_MIN, COST_AT_MAX = "monthlyCostAtMin", "monthlyCostAtMax"
NONE = "–"
ROLLS = "its pods roll"

OPERATIONS: dict[Operation, str] = {
    "replace": "deleted and made again",
    "delete": "deleted",
    "release": "let go, but kept on the cluster",
    "update": "changed",
    "create": "created",
    "note": "annotated anew",
}


def line_value(line: Line | None) -> str:
    """`15`, `40Gi`, `52.3 ms`; a dash where there is none."""
    return NONE if line is None else f"{figure(line.value)} {line.unit}".rstrip()


def figure(value: Any) -> str:
    """A number with thousands separated, anything else as JSON would have it, without quotes around text."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4f}".rstrip("0").rstrip(".")
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)


def arrow(before: str, after: str) -> str:
    """`15 → 30`; one of both alone when they are the same."""
    return after if before == after else f"{before} → {after}"


def setting(change: SettingChange) -> tuple[str, str]:
    """The name of a setting, and `before → after`."""
    return f"{change.component}.{change.setting}", arrow(line_value(change.before), line_value(change.after))


def bound(change: SettingChange) -> str:
    """The constraint that decides the setting, and the one before when it was another."""
    old = change.before.bound_by if change.before else NONE
    new = change.after.bound_by if change.after else NONE
    return new if change.before is None else arrow(old, new)


def of_component(diff: StackDiff, component: str, name: str) -> str:
    """`before → after` of one setting of a component, whether it changed or not; a dash where neither side has it."""
    old, new = _line(diff.before, component, name), _line(diff.after, component, name)
    return NONE if old is None and new is None else arrow(line_value(old), line_value(new))


def bill(diff: StackDiff, component: str) -> str:
    """`$1,000–$5,000 → $1,000–$9,000`: a component's month at its fewest and most pods; a dash where it is unknown."""
    both = []
    for side in (diff.before, diff.after):
        costs = side.costs.get(component) if isinstance(side, Snapshot) else None
        both.append(NONE if costs is None else "–".join(f"${x:,.0f}" for x in dict.fromkeys(costs)))
    return arrow(*both)


def cost(diff: StackDiff) -> str:
    """The bill of the stack before and after, at minimum and maximum replicas; empty where no plan has it."""
    parts: list[str] = []
    if diff.problems:
        return ""
    for name, at in ((COST_AT_MIN, "at minimum"), (COST_AT_MAX, "at maximum")):
        old, new = _line(diff.before, TOTAL, name), _line(diff.after, TOTAL, name)
        was, now = (quantity.number(x.value) if x else None for x in (old, new))
        if now is None and was is None:
            continue
        both = arrow(*(NONE if x is None else f"${x:,.0f}" for x in (was, now)))
        by = "" if was is None or now is None or was == now else f" ({now - was:+,.0f})"
        parts.append(f"{both}{by} a month {at} replicas")
    return ", ".join(parts)


def counts(diff: StackDiff) -> str:
    """`3 settings and 5 objects change`."""
    settings = len([s for s in diff.settings if s.component != TOTAL])
    objects = len([o for o in diff.objects if o.operation != "note"])
    verb = "changes" if settings + objects == 1 else "change"
    return f"{plural(settings, 'setting')} and {plural(objects, 'object')} {verb}"


def plural(count: int, noun: str) -> str:
    """`1 object`, `2,000 objects`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def verdict(diff: StackDiff) -> str:
    """One sentence that says what the change does to the stack."""
    if diff.problems:
        return "cannot be compared"
    if isinstance(diff.after, Absent):
        return "has no stack file any more" if isinstance(diff.before, Snapshot) else "has no stack file"
    if isinstance(diff.before, Absent):
        return f"is new: {plural(len(diff.objects), 'object')} would be created"
    if not diff.changed:
        return "does not change"
    return counts(diff) + (f", {plural(len(diff.dangers), 'danger')}" if diff.dangers else ", nothing dangerous")


def object_change(change: ObjectChange, limit: int = 4) -> str:
    """What changes in an object: its first fields, and what that does to its pods."""
    if change.operation in ("create", "delete", "release"):
        return ""
    fields = [f for f in change.fields if not f.path.startswith("metadata.annotations.headroom.dev/")]
    shown = [f"{f.path} {arrow(brief(f.before), brief(f.after))}" for f in fields[:limit]]
    more = [f"and {len(fields) - limit} more"] if len(fields) > limit else []
    rolled = change.operation == "update" and rolls(change.object.kind, (f.path for f in change.fields))
    pods = [ROLLS] if rolled else []
    return "; ".join([*(f"because of {w}" for w in change.why[:limit]), *shown, *more, *pods])


def brief(value: Any) -> str:
    """A value in a few characters."""
    text = NONE if value is None else figure(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def rolls(kind: str, paths: Iterable[str]) -> bool:
    """Whether an update of these fields replaces the object's pods."""
    return kind in ("Deployment", "StatefulSet", "DaemonSet") and any(p.startswith("spec.template.") for p in paths)


def _line(state: State | None, component: str, name: str) -> Line | None:
    lines: Iterable[Line] = state.lines if isinstance(state, Snapshot) else ()
    return next((x for x in lines if (x.component, x.setting) == (component, name)), None)
