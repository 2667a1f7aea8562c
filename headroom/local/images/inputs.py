"""What an image is made of. Its tag is a hash of exactly that, so an image is rebuilt when and only when it changed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from headroom import project
from headroom.capacity.parts import PARTS
from headroom.errors import InputError
from headroom.local.images import base

NAMES = ("inference", *PARTS)
# Folders and files, besides its own folder in images/, that an image's Containerfile copies from.
ALSO = {
    "inference": ("inference",),
    "postgres": ("headroom/capacity/plan/buckets.py", "images/authority"),
    "pgbouncer": ("images/authority",),
}
# A file's own time is no input (git sets it to the checkout's), so every copy carries this one.
EPOCH_SECONDS = 1_700_000_000


def ref(name: str, root: Path | None = None) -> str:
    """`localhost/headroom/<name>:<12 hex digits of the input hash>`: the same content has the same name everywhere."""
    return tag(name, digest(name, root))


def tag(name: str, inputs: str) -> str:
    """The image's name for a digest of its inputs."""
    return f"localhost/headroom/{name}:{inputs}"


def digest(name: str, root: Path | None = None) -> str:
    """12 hex digits of SHA-256 over the base's recipe and every input's path, executable bit and content.

    Raises InputError for a name that has no image.
    """
    total = hashlib.sha256(base.version().encode())
    for path, file in files(name, root):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        total.update(f"\n{path} {_mode(file):o} {content}".encode())
    return total.hexdigest()[:12]


def files(name: str, root: Path | None = None) -> Iterator[tuple[str, Path]]:
    """The inputs as (path relative to the root, file), sorted by path; hidden files and caches are none."""
    if name not in NAMES:
        raise InputError(f"there is no image {name!r}", fix=f"choose one of {', '.join(NAMES)}")
    root = root or project.root()
    for folder in (f"images/{name}", *ALSO.get(name, ())):
        place = root / folder
        for file in [place] if place.is_file() else sorted(place.rglob("*")):
            path = file.relative_to(root)
            if file.is_file() and not any(part == "__pycache__" or part.startswith(".") for part in path.parts):
                yield path.as_posix(), file


def stage(name: str, into: Path, root: Path | None = None) -> Path:
    """Copy the inputs into `into`, the build's context: what is built is what was hashed. Returns its Containerfile."""
    for path, file in files(name, root):
        copy = into / path
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, copy)
        copy.chmod(_mode(file))
        os.utime(copy, (EPOCH_SECONDS, EPOCH_SECONDS))
    for folder in (into, *(f for f in into.rglob("*") if f.is_dir())):
        folder.chmod(0o755)
    return into / "images" / name / "Containerfile"


def _mode(file: Path) -> int:
    return 0o755 if file.stat().st_mode & 0o100 else 0o644
