"""Build an image with the Docker or Podman that is here, from the public `debian:12-slim`."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from headroom.local.images import room
from headroom.progress import Progress

ANSWER_SECONDS = 15


def find() -> str | None:
    """`docker` or `podman`, whichever is on PATH and answers; None if neither does."""
    for engine in ("docker", "podman"):
        if shutil.which(engine) is None:
            continue
        try:
            asked = subprocess.run([engine, "info"], capture_output=True, check=False, timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            continue
        if asked.returncode == 0:
            return engine
    return None


def build(
    ref: str, containerfile: Path, context: Path, archive: Path, *, command: str, progress: Progress, log: Path
) -> None:
    """Build `containerfile` with `command` and write the image, named `ref`, as a docker-archive."""
    # Podman's default formats are OCI's, which have no place for HEALTHCHECK.
    podman = command == "podman"
    for arguments in (
        ["build", *(["--format=docker"] if podman else []), f"--file={containerfile}", f"--tag={ref}", str(context)],
        ["save", *(["--format=docker-archive"] if podman else []), f"--output={archive}", ref],
    ):
        room.run([command, *arguments], log=log, each_line=progress.detail, isolated=False)
