"""The comparison of two revisions of the project, all its stacks or one."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from headroom.errors import HeadroomError, InputError
from headroom.ops.diff import revision
from headroom.ops.diff.compare import compare
from headroom.ops.diff.model import Report
from headroom.progress import Progress, step


def run(root: Path, *, base: str | None, stack: str | None, progress: Progress) -> Report:
    """Compare the working tree in `root` with the revision `base` (by default where it left the main branch).

    What cannot be compared is in the report, not raised: a missing base, a stack that is invalid at one revision.
    Raises InputError for a stack that neither revision has.
    """
    head = revision.Revision(revision.WORKING_TREE, root)
    title = base or "the main branch"
    try:
        found = revision.commit(root, base) if base else revision.default_base(root)
        with revision.checked_out(root, found) as old:
            names = _chosen(stack, revision.stacks(old), revision.stacks(head))
            with (
                step(progress, f"planning and rendering {', '.join(names)} at {old.title} and in {head.title}"),
                ThreadPoolExecutor(2) as pool,
            ):
                before, after = pool.map(lambda side: revision.read(side, names), (old, head))
            return Report(old.title, head.title, tuple(compare(before[n], after[n]) for n in names))
    except NoSuchStackError:
        raise
    except HeadroomError as error:
        return Report(title, head.title, problems=(f"{error.message}" + (f" — {error.fix}" if error.fix else ""),))


class NoSuchStackError(InputError):
    """A stack was asked for that neither revision has."""


def _chosen(stack: str | None, old: Sequence[str], new: Sequence[str]) -> list[str]:
    names = sorted({*old, *new})
    if stack is None:
        return names
    if stack not in names:
        raise NoSuchStackError(
            f"there is no stack {stack!r}, neither before nor after the change",
            fix=f"choose one of {', '.join(names) or '(none)'}",
        )
    return [stack]
