"""The base of every image where no Docker can pull one: Debian 12, slim, made with debootstrap."""

from __future__ import annotations

import hashlib
from pathlib import Path

from headroom.local import times
from headroom.local.images import host, room, store
from headroom.progress import Progress, step

RECIPE = Path(__file__).with_name("base.sh")
IMAGE = "localhost/debian:12-slim"


def version() -> str:
    """12 hex digits that change when the recipe does."""
    return hashlib.sha256(RECIPE.read_bytes()).hexdigest()[:12]


def archive(work: Path, progress: Progress, log: Path) -> Path:
    """The base's root file system as a tar, from the cache or made now in the folder `work`.

    Needs root, debootstrap and a Debian mirror; raises EnvironmentFailure when they fail.
    """
    made = store.folder() / f"base-{version()}.tar"
    if made.is_file():
        return made
    about = "making the base image, Debian 12 slim (about a minute, once)"
    with step(progress, about, "base image made"), times.kept("base image"):
        settings = work / "base-host"
        host.mounts(settings)
        mirror = next(mirror.uri for mirror in host.mirrors() if mirror.suite == host.SUITES[0])
        fresh = work / made.name
        room.run(
            ["sh", str(RECIPE), str(work / "base-root"), mirror, str(settings), str(fresh)],
            log=log,
            each_line=lambda line: progress.detail(line.removeprefix("I: ")),
        )
        for old in store.folder().glob("base-*.tar"):
            old.unlink(missing_ok=True)
        fresh.replace(made)
    return made
