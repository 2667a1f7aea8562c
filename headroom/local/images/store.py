"""The cache that images are built in and kept in: `$HEADROOM_CACHE/images` (default `~/.cache/headroom/images`)."""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local import paths
from headroom.progress import Progress

WORK = "work-"
KEEP = 2
NEEDED_BYTES = 6 * 2**30


def folder() -> Path:
    """The cache folder, made when missing. Raises EnvironmentFailure when it cannot be written."""
    path = paths.cache() / "images"
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as failure:
        raise EnvironmentFailure(
            f"the image cache {path} cannot be made: {failure.strerror}", fix="set HEADROOM_CACHE to a folder of yours"
        ) from failure
    return path


@contextmanager
def locked(progress: Progress) -> Iterator[None]:
    """One build at a time on a machine: others wait here, and say so. The kernel gives the lock back if we die."""
    with (folder() / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress.note("waiting for another build of images on this machine")
            fcntl.flock(lock, fcntl.LOCK_EX)
        # Under the lock nobody else works here: what lies about was left by a build that was killed.
        for left in folder().glob(f"{WORK}*"):
            remove(left)
        yield


@contextmanager
def workspace() -> Iterator[Path]:
    """A folder for one build, gone afterwards however it ends. Call under `locked`.

    Raises EnvironmentFailure when the disk has too little room.
    """
    free = shutil.disk_usage(folder()).free
    if free < NEEDED_BYTES:
        raise EnvironmentFailure(
            f"{free / 2**30:.1f} GiB are free in {folder()}; building images takes up to {NEEDED_BYTES // 2**30} GiB",
            fix="free some room, or set HEADROOM_CACHE to a larger disk",
        )
    path = Path(tempfile.mkdtemp(prefix=WORK, dir=folder()))
    try:
        yield path
    finally:
        remove(path)


def archive(name: str, digest: str) -> Path:
    """Where the image archive of these inputs is, or will be."""
    return folder() / f"{name}-{digest}.tar"


def prune(name: str) -> None:
    """Delete all but the newest two archives of an image (two checkouts may take turns)."""
    archives = sorted(folder().glob(f"{name}-*.tar"), key=lambda file: file.stat().st_mtime, reverse=True)
    for old in archives[KEEP:]:
        old.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a folder of the cache, whatever is in it."""
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        # A killed build's last process may still have been writing when its file was passed by.
        shutil.rmtree(path)
