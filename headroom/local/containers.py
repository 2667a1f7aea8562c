"""Images of the real node: made from files, imported, listed. There is no registry."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import subprocess
import tarfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from headroom.errors import EnvironmentFailure, InputError
from headroom.local import machine, processes, realnode, room
from headroom.local.model import Cluster
from headroom.local.processes import last_line

GZIP = b"\x1f\x8b"
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def import_image(cluster: Cluster, archive: Path, ref: str) -> None:
    """Load an image archive (docker or OCI, plain or gzip) into the real node's containerd, to be run as `ref`.

    Raises InputError when the cluster's nodes are fake, EnvironmentFailure when containerd refuses the archive.
    """
    require_real(cluster)
    with archive.open("rb") as content:
        packed = content.read(2) == GZIP
    if packed:
        with subprocess.Popen(["gzip", "-dc", str(archive)], stdout=subprocess.PIPE) as plain:
            listed = ctr(cluster.state, "images", "import", "-", stdin=plain.stdout)
    else:
        with archive.open("rb") as content:
            listed = ctr(cluster.state, "images", "import", "-", stdin=content)
    names = [line.split()[1] for line in listed.splitlines() if line.startswith("unpacking ")]
    names = names or [name for name in images(cluster) if name == ref]
    if ref not in images(cluster):
        if not names:
            raise EnvironmentFailure(f"{archive} names no image", fix=f"save it with the name {ref}")
        ctr(cluster.state, "images", "tag", "--force", names[0], ref)


def images(cluster: Cluster) -> list[str]:
    """The names of the images on the real node, without those that are digests only."""
    require_real(cluster)
    return sorted(name for name in ctr(cluster.state, "images", "list", "-q").split() if not name.startswith("sha256:"))


def require_real(cluster: Cluster) -> None:
    if cluster.nodes != "real":
        raise InputError(
            f"the nodes of cluster {cluster.name} are fake: they hold no images", fix="headroom local up --nodes real"
        )


def ctr(state: Path, *arguments: str, stdin: IO[bytes] | None = None) -> str:
    """Run containerd's client inside of the cluster's room. Raises EnvironmentFailure with its words."""
    client = machine.which("ctr") or "ctr"
    return inside(state, [client, "--address", realnode.SOCKET, "--namespace", "k8s.io", *arguments], stdin=stdin)


def inside(state: Path, argv: Sequence[str], *, stdin: IO[bytes] | None = None) -> str:
    """Run a program to its end inside of the cluster's namespaces; gives its stdout."""
    init = processes.living(state, room.INIT)
    if init is None:
        raise EnvironmentFailure("the cluster does not run", fix="headroom local up")
    enter = ["nsenter", "--target", str(init.pid), "--net", "--mount", "--pid"]
    done = subprocess.run(
        [*enter, *argv],
        stdin=stdin if stdin is not None else subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env=processes.environment(state),
    )
    if done.returncode:
        raise EnvironmentFailure(f"{Path(argv[0]).name}: {last_line(done.stderr)}", fix="headroom local status")
    return done.stdout


def archive_of(target: Path, ref: str, files: Mapping[str, Path], entrypoint: Sequence[str]) -> Path:
    """Write a docker archive of an image with nothing in it but `files` (path in it: file), run as user 65534."""
    layer = tar({path: file.read_bytes() for path, file in files.items()})
    settings = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Entrypoint": list(entrypoint), "User": "65534:65534", "Env": ["PATH=/bin"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
    }
    configuration = json.dumps(settings).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [ref], "Layers": ["layer.tar"]}]).encode()
    target.write_bytes(tar({name: configuration, "layer.tar": layer, "manifest.json": manifest}))
    return target


def tar(contents: Mapping[str, bytes]) -> bytes:
    """A tar file of the contents, the same bytes every time."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as archive:
        for path, content in contents.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o755
            archive.addfile(entry, io.BytesIO(content))
    return written.getvalue()


def ensure_pause_image(state: Path, pause: Path) -> None:
    """Wait for containerd and give it the image that holds each pod's namespaces."""
    deadline = time.monotonic() + 30
    while True:
        try:
            present = ctr(state, "images", "list", "-q").split()
            break
        except EnvironmentFailure:
            if processes.living(state, "containerd") is None or time.monotonic() > deadline:
                raise EnvironmentFailure(
                    f"containerd does not answer: {processes.log_tail(state, 'containerd')}",
                    fix="see whether the disk is full and overlayfs can be mounted here, or use --nodes fake",
                ) from None
            time.sleep(0.1)
    if realnode.PAUSE_IMAGE not in present:
        archive = archive_of(state / "run" / "pause.tar", realnode.PAUSE_IMAGE, {"/pause": pause}, ["/pause"])
        with archive.open("rb") as content:
            ctr(state, "images", "import", "-", stdin=content)
        archive.unlink()
