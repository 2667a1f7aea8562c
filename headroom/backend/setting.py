"""One setting of a resource: what it should be, what it is, and how it is made so.

`init`, `init --dry-run` and `check` walk the same settings, so what `check` calls drift is what `init` repairs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from headroom.backend.aws import code
from headroom.progress import Progress


@dataclass(frozen=True)
class Change:
    """A difference that was repaired, or would be: `what` of `resource`, from `was` to `now`, in words."""

    resource: str
    what: str
    was: str
    now: str

    def __str__(self) -> str:
        return f"{self.resource}: {self.what}: {self.was} -> {self.now}"


@dataclass(frozen=True)
class Setting:
    """`read` gives the present value (None: not set), comparable with `wanted`; `write` makes it so.

    `shown` says `wanted` in words; `at_birth` is what a resource that was just created has.
    """

    resource: str
    what: str
    wanted: Any
    read: Callable[[], Any]
    write: Callable[[], object]
    shown: str
    at_birth: Any = None


def converge(settings: Iterable[Setting], *, exists: bool, dry_run: bool, progress: Progress) -> list[Change]:
    """Read every setting, write those that differ, and return the differences.

    `exists` False: the resource is not there yet (a dry run), so what it lacks at birth would be written. Each change
    is noted when it is made, so that a run that stops half-way has said what it did.
    """
    changes = []
    for setting in settings:
        progress.detail(f"{setting.resource}: {setting.what}")
        present = setting.read() if exists else setting.at_birth
        if present == setting.wanted:
            continue
        if not dry_run:
            setting.write()
        changes.append(made(Change(setting.resource, setting.what, words(present), setting.shown), progress))
    return changes


def made(change: Change, progress: Progress) -> Change:
    """Tell the listener of a change, and hand it on."""
    progress.note(str(change))
    return change


def absent(read: Callable[[], Any], *codes: str) -> Any:
    """What `read` gives, or None when AWS answers with one of `codes` (the setting was never made)."""
    try:
        return read()
    except ClientError as error:
        if code(error) in codes:
            return None
        raise


def words(value: Any) -> str:
    """A value of a setting for people: short, on one line."""
    if value is None or value in ({}, []):
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
