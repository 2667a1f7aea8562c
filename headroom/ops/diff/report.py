"""A comparison as one Markdown comment, under the size that a comment may have whatever changed."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from headroom.engine.write import to_yaml
from headroom.ops.diff import words
from headroom.ops.diff.markup import block, code, cut, prose, visible
from headroom.ops.diff.model import ObjectChange, Rendered, Report, StackDiff

LIMIT = 60_000
"""Characters. GitHub refuses a comment above 65,536, and other things may be added around ours."""
_ROW = 600
_LEAST_DIFF = 1000
_STACKS = 40
# Of what one stack may fill; the full diff gets what the others leave.
_SHARE = {"problems": 0.10, "settings": 0.25, "dangers": 0.20, "warnings": 0.05, "objects": 0.15, "formulas": 0.15}


def markdown(report: Report, limit: int = LIMIT) -> str:
    """The comment. Its first line is a hidden marker by which it is found and edited in place next time; the second
    counts dangers for the job that asks for a label."""
    stacks = report.stacks[:_STACKS]
    dangers = sum(len(s.dangers) for s in report.stacks)
    head = [marker(report), f"<!-- headroom-dangers:{dangers} -->", ""]
    both = f"{code(report.base)} → {code(report.head)}"
    foot = [f"<sub>{both}, planned and rendered by the code of each; no cluster was asked.</sub>"]
    if report.problems:
        head += [
            "### headroom diff: cannot be compared",
            "",
            *(f"- {prose(cut(p, _ROW))}" for p in report.problems),
            "",
        ]
    if len(report.stacks) > len(stacks):
        foot.insert(0, f"{len(report.stacks) - len(stacks)} more stacks are left out.\n")
    room = limit - _size([*head, *foot])
    bodies = []
    for i, diff in enumerate(stacks):
        body = _stack(diff, report, room // (len(stacks) - i))
        bodies.append(body)
        room -= len(body) + 1
    return "\n".join([*head, *bodies, *foot]) + "\n"


def marker(report: Report) -> str:
    """The hidden line that tells our comments apart: one a stack, or one for all."""
    name = report.stacks[0].stack if len(report.stacks) == 1 else "all"
    return f"<!-- headroom-diff:{''.join(c for c in name if c.isalnum() or c in '-_.')} -->"


def _stack(diff: StackDiff, report: Report, room: int) -> str:
    out = [f"### headroom diff: {code(cut(diff.stack, 60))} {prose(words.verdict(diff))}", ""]
    if bill := words.cost(diff):
        out += [prose(bill) + ".", ""]
    if diff.dangers:
        first = diff.dangers[0]
        rest = f" (and {len(diff.dangers) - 1:,} more below)" if len(diff.dangers) > 1 else ""
        out += ["> [!CAUTION]", f"> {code(cut(first.subject, 120))} {prose(cut(first.words, 400))}{rest}", ""]
    share = {name: int(room * part) for name, part in _SHARE.items()}
    parts = [
        _bounded(_problems(diff), share["problems"], "problem"),
        _bounded(_settings(diff), share["settings"], "setting", header=_TABLE),
        _bounded(_dangers(diff), share["dangers"], "danger", header=["**Dangers**", ""]),
        _bounded(_warnings(diff), share["warnings"], "warning", header=["**New warnings of the plan**", ""]),
        _bounded(_objects(diff), share["objects"], "line", header=["**Objects**", ""]),
        _folded("Formulas", _bounded(_formulas(diff), share["formulas"], "formula")),
    ]
    used = _size(out)
    for part in parts:
        if used + _size(part) < room:  # else a stack among so many that it has next to no room
            out += part
            used += _size(part)
    if room - used > _LEAST_DIFF:
        out += _full_diff(diff, report, room - used - 400)
    return "\n".join(out)


def _size(lines: Sequence[str]) -> int:
    return sum(len(x) + 1 for x in lines)


_TABLE = ["| setting | before → after | bound by | p99 | $/month |", "|---|---|---|---|---|"]


def _problems(diff: StackDiff) -> list[str]:
    return [f"- {prose(cut(p, _ROW))}" for p in diff.problems]


def _settings(diff: StackDiff) -> list[str]:
    """A row a changed setting; p99 and the bill of its component stand once."""
    rows, told = [], set()
    for change in diff.settings:
        name, both = words.setting(change)
        first = change.component not in told
        told.add(change.component)
        p99 = words.of_component(diff, change.component, words.P99) if first else ""
        money = words.bill(diff, change.component) if first else ""
        cells = (
            code(cut(name, 100)),
            prose(cut(both, 120)),
            prose(cut(words.bound(change), 80)),
            prose(p99),
            prose(money),
        )
        rows.append("| " + " | ".join(cells) + " |")
    return rows


def _dangers(diff: StackDiff) -> list[str]:
    return [f"- {code(cut(d.subject, 120))} {prose(cut(d.words, _ROW))}" for d in diff.dangers]


def _warnings(diff: StackDiff) -> list[str]:
    return [f"- {code(cut(component, 100))} {prose(cut(message, _ROW))}" for component, message in diff.warnings]


def _objects(diff: StackDiff) -> list[str]:
    rows = []
    for operation, group in groupby(diff.objects, key=lambda c: c.operation):
        changes = list(group)
        rows.append(f"- {words.OPERATIONS[operation]} ({len(changes):,}):")
        if operation == "note":
            rows.append("  - formulas only: " + cut(", ".join(code(c.object.title) for c in changes[:20]), _ROW))
            continue
        for change in changes:
            told = words.object_change(change)
            rows.append(f"  - {code(cut(change.object.title, 120))}" + (f": {prose(cut(told, 400))}" if told else ""))
    return rows


def _formulas(diff: StackDiff) -> list[str]:
    rows = []
    for change in diff.settings:
        name, _ = words.setting(change)
        for side, line in (("before", change.before), ("after", change.after)):
            if line is not None and line.because:
                rows.append(f"- {code(cut(name, 100))} {side}: {prose(cut(line.because, 300))}")
    return rows


def _bounded(rows: Sequence[str], room: int, noun: str, header: Sequence[str] = ()) -> list[str]:
    """The header and as many rows as fit, with a line that counts those left out; nothing when there are no rows."""
    if not rows:
        return []
    kept: list[str] = []
    used = _size(header) + 80
    for row in rows:
        if used + len(row) + 1 > room:
            break
        kept.append(row)
        used += len(row) + 1
    left = len(rows) - len(kept)
    more = ["", f"… {words.plural(left, f'more {noun}')} left out."] if left else []
    return [*header, *kept, *more, ""] if kept else [*more[1:], ""]


def _folded(title: str, lines: Sequence[str]) -> list[str]:
    return [f"<details><summary>{title}</summary>", "", *lines, "</details>", ""] if lines else []


def _full_diff(diff: StackDiff, report: Report, room: int) -> list[str]:
    changes = [c for c in diff.objects if c.operation != "note"]
    if not changes:
        return []
    kept: list[str] = []
    used = shown = 0
    for change in changes:
        lines = [visible(line) for line in unified(change)]
        size = _size(lines)
        if used + size > room:
            break
        kept += lines
        used += size
        shown += 1
    left = len(changes) - shown
    command = f"headroom diff --base {report.base} --stack {diff.stack} --format markdown"
    more = (
        [f"… the diff of {words.plural(left, 'more object')} left out. All of it: {code(cut(command, 200))}", ""]
        if left
        else []
    )
    body = [block("\n".join(kept), "diff"), ""] if kept else []
    return _folded(f"Full diff of {words.plural(len(changes), 'object')}", [*body, *more])


def unified(change: ObjectChange) -> Iterator[str]:
    """The diff of one object's YAML, as `diff -u` writes it."""
    old, new = (_lines(side) for side in (change.before, change.after))
    title = change.object.title
    return difflib.unified_diff(old, new, f"before: {title}", f"after: {title}", n=2, lineterm="")


def _lines(o: Rendered | None) -> list[str]:
    if o is None:
        return []
    manifest: dict[str, Any] = {**o.manifest, "metadata": dict(o.manifest["metadata"])}
    notes = manifest["metadata"].pop("annotations", None) or {}
    # Formulas have a place of their own; here they would bury what changes.
    if kept := {k: v for k, v in notes.items() if k != "headroom.dev/because"}:
        manifest["metadata"]["annotations"] = kept
    return to_yaml(manifest).splitlines()
