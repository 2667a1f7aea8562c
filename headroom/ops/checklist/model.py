"""A checklist: what to have done before, while and after a change."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Group(StrEnum):
    before = "Before the change"
    making = "While making it"
    after = "After it"


class Mark(StrEnum):
    """`done`: the plan or the cluster says so. `open`: a person's to do, or not so yet. `failed`: it is not so."""

    done = "done"
    open = "open"
    failed = "failed"


@dataclass(frozen=True)
class Item:
    """One line: what, how it stands, by what evidence, and the command that does it or shows it."""

    group: Group
    what: str
    mark: Mark
    evidence: str
    command: str = ""


@dataclass(frozen=True)
class Checklist:
    """`title` says what is about to change; `unseen` why the cluster was not asked, empty where it was."""

    title: str
    items: tuple[Item, ...]
    unseen: str = ""

    def of(self, group: Group) -> tuple[Item, ...]:
        return tuple(i for i in self.items if i.group is group)

    @property
    def left(self) -> int:
        """How many are not done."""
        return sum(i.mark is not Mark.done for i in self.items)
