"""Build an image without a Docker daemon: buildah with its chroot isolation, in a storage of our own.

The storage keeps the layers of earlier builds, so an edit of a script rebuilds seconds of work, not all of it. It is
a cache: whatever is wrong with it, it is deleted and filled again.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local.images import base, host, room, store
from headroom.progress import Progress

PACKAGES = ("debootstrap", "debian-archive-keyring", "buildah")
STORAGE_LIMIT_BYTES = 12 * 2**30


class Builder:
    """buildah on one storage, for the time of one build. Call under `store.locked`."""

    def __init__(self, work: Path, progress: Progress, log: Path) -> None:
        self._work, self._progress, self._log = work, progress, log
        self._driver = "overlay" if _overlay_works(work, log) else "vfs"
        self._storage = store.folder() / f"storage-{self._driver}-{base.version()}"
        for old in store.folder().glob("storage-*"):
            if old != self._storage or _size_bytes(old) > STORAGE_LIMIT_BYTES:
                store.remove(old)
        policy = {"default": [{"type": "insecureAcceptAnything"}]}  # only the base that we made ourselves is "pulled"
        (work / "policy.json").write_text(json.dumps(policy), encoding="utf-8")
        (work / "registries.conf").write_text("unqualified-search-registries = []\n", encoding="utf-8")
        (work / "storage.conf").write_text(
            f'[storage]\ndriver = "{self._driver}"\ngraphroot = "{self._storage}"\nrunroot = "{work / "run"}"\n',
            encoding="utf-8",
        )
        # Containers of a build that was killed.
        self._buildah("rm", "--all")
        self._have_base()

    def build(self, ref: str, containerfile: Path, context: Path, archive: Path) -> None:
        """Build `containerfile` and write the image, named `ref`, as a docker-archive."""
        mounts = [f"--volume={source}:{target}:ro" for source, target in host.mounts(self._work / "host")]
        self._buildah(
            "bud",
            "--isolation=chroot",
            "--format=docker",  # the OCI format has no place for HEALTHCHECK
            "--pull-never",
            # vfs copies the whole file system for every layer that is kept
            f"--layers={'true' if self._driver == 'overlay' else 'false'}",
            f"--signature-policy={self._work / 'policy.json'}",
            f"--build-arg=BASE={base.IMAGE}",
            *mounts,
            f"--file={containerfile}",
            f"--tag={ref}",
            str(context),
            each_line=self._progress.detail,
        )
        self._progress.detail("writing the archive")
        self._buildah(
            "push", f"--signature-policy={self._work / 'policy.json'}", ref, f"docker-archive:{archive}:{ref}"
        )

    def _have_base(self) -> None:
        found = self._buildah("images", "--quiet", "--no-trunc", "--filter", f"reference={base.IMAGE}")
        if "sha256:" in found:
            return
        archive = base.archive(self._work, self._progress, self._log)
        context = self._work / "base"
        context.mkdir()
        archive_here = context / "base.tar"
        archive_here.hardlink_to(archive)
        (context / "Containerfile").write_text('FROM scratch\nADD base.tar /\nCMD ["bash"]\n', encoding="utf-8")
        self._buildah(
            "bud",
            "--isolation=chroot",
            "--format=docker",
            "--layers=false",
            f"--signature-policy={self._work / 'policy.json'}",
            f"--tag={base.IMAGE}",
            str(context),
        )

    def _buildah(self, *arguments: str, each_line: Callable[[str], None] = lambda line: None) -> str:
        return room.run(
            ["buildah", *arguments],
            log=self._log,
            each_line=each_line,
            env={
                "CONTAINERS_STORAGE_CONF": str(self._work / "storage.conf"),
                "CONTAINERS_REGISTRIES_CONF": str(self._work / "registries.conf"),
                "TMPDIR": str(self._work),
            },
        )


def _overlay_works(work: Path, log: Path) -> bool:
    """Whether the kernel stacks overlays on the cache's file system (not inside most containers, for example)."""
    folders = {kind: work / f"overlay-{kind}" for kind in ("lower", "upper", "work", "merged")}
    for folder in folders.values():
        folder.mkdir()
    options = f"lowerdir={folders['lower']},upperdir={folders['upper']},workdir={folders['work']}"
    try:
        room.run(["mount", "-t", "overlay", "overlay", "-o", options, str(folders["merged"])], log=log)
    except EnvironmentFailure:
        return False
    return True


def _size_bytes(folder: Path) -> int:
    told = subprocess.run(
        ["du", "--summarize", "--block-size=1", str(folder)], capture_output=True, text=True, check=False
    ).stdout.split()
    return int(told[0]) if told else 0
