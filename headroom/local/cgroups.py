"""The cgroup that holds every pod of a cluster, in each hierarchy of version 1 or in the one of version 2."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local.machine import CGROUPS

KERNEL_OWN = {"unified"}


def unified() -> bool:
    """Whether this machine has cgroup version 2 only."""
    return (CGROUPS / "cgroup.controllers").is_file()


def hierarchies() -> list[Path]:
    """The root of each hierarchy."""
    if unified():
        return [CGROUPS]
    return sorted(
        folder for folder in CGROUPS.iterdir() if (folder / "cgroup.procs").is_file() and folder.name not in KERNEL_OWN
    )


def make(name: str) -> None:
    """Make the cgroup where it is not. Raises EnvironmentFailure when the system refuses."""
    try:
        for root in hierarchies():
            group = root / name
            group.mkdir(exist_ok=True)
            if unified():
                offered = (root / "cgroup.controllers").read_text().split()
                wanted = " ".join(f"+{controller}" for controller in offered)
                (root / "cgroup.subtree_control").write_text(wanted)
            # A cpuset without CPUs takes no process.
            for setting in ("cpuset.cpus", "cpuset.mems"):
                if not unified() and (group / setting).exists() and not (group / setting).read_text().strip():
                    (group / setting).write_text((root / setting).read_text())
    except OSError as problem:
        raise EnvironmentFailure(
            f"cannot make the cgroup {name}: {problem.strerror}",
            fix="run where root may write cgroups (not in an unprivileged container), or use --nodes fake",
        ) from problem


def remove(name: str, *, seconds: float = 10) -> None:
    """Remove the cgroup and all below it, once its processes are gone. Raises EnvironmentFailure when they stay."""
    deadline = time.monotonic() + seconds
    left = existing(name)
    while left:
        for group in left:
            for folder in sorted((path for path in group.rglob("*") if path.is_dir()), reverse=True):
                with contextlib.suppress(OSError):
                    folder.rmdir()
            with contextlib.suppress(OSError):
                group.rmdir()
        left = existing(name)
        if left and time.monotonic() > deadline:
            raise EnvironmentFailure(
                f"the cgroup {left[0]} is still in use", fix="end its processes (its cgroup.procs)"
            )
        if left:
            time.sleep(0.05)


def existing(name: str) -> list[Path]:
    """The cgroup in each hierarchy that has it, also in those that no cluster of ours makes it in."""
    roots = [CGROUPS, *(path for path in CGROUPS.iterdir() if path.is_dir())] if CGROUPS.is_dir() else []
    return [root / name for root in roots if (root / name).is_dir()]
