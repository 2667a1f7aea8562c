"""Take away all that a cluster has made, with or without its record."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from headroom.local import cgroups, paths, record, room
from headroom.local.record import Record


def take_down(state: Path, found: Record | None) -> None:
    """Remove a cluster, with or without its record, and its folders."""
    clear(state, found)
    remove_folder(state)


def clear(state: Path, found: Record | None) -> None:
    """Remove all of a cluster but its folder, which holds the lock. The record goes last: it can be done again."""
    identity = record.identity(state)
    room.leave(state, found, identity)
    if room.possible():
        cgroups.remove(f"headroom-{identity}")
    for entry in sorted(state.iterdir() if state.exists() else [], key=lambda path: path.name == paths.RECORD):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)


def remove_folder(state: Path) -> None:
    """Remove an empty state folder, and the folder of all clusters when it was the only one."""
    with contextlib.suppress(OSError):
        state.rmdir()
        state.parent.rmdir()
