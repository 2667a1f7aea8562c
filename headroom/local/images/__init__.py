"""The images of the software that runs inside the pods: built here when their inputs change, kept in the cache.

    archive = build("postgres", progress)          # a docker-archive; cached
    refs = load(cluster, ["postgres", "redis"], progress)  # on the cluster's node, under the names that it returns

A tag is a hash of what the image is made of, so it never names two things and a changed input rolls its pods.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local import containers, packages, times
from headroom.local.images import buildah, engine, inputs, store
from headroom.local.images.inputs import NAMES, ref
from headroom.local.model import Cluster
from headroom.progress import Progress, step

__all__ = ["NAMES", "build", "load", "ref"]

# Measured on two cores with nothing of it cached but the base; docs/images.md has the figures.
ABOUT_SECONDS = {"inference": 120, "postgres": 60, "pgbouncer": 30, "redis": 20, "h2o": 60}


def build(name: str, progress: Progress) -> Path:
    """The archive (docker-archive, one image, named `ref(name)`) of an image, built now if its inputs changed.

    Raises InputError for a name without an image, EnvironmentFailure when nothing here can build or the build fails.
    """
    cached = store.archive(name, inputs.digest(name))
    if cached.is_file():
        return cached
    builder = _builder(progress)
    log = store.folder() / f"{name}.log"
    with store.locked(progress), store.workspace() as work:
        context = work / "context"
        context.mkdir()
        containerfile = inputs.stage(name, context)
        # Of the copy, not of the checkout: that may have been edited meanwhile.
        archive = store.archive(name, inputs.digest(name, context))
        if archive.is_file():
            return archive
        log.unlink(missing_ok=True)
        fresh = work / archive.name
        tag = inputs.ref(name, context)
        # Its first use makes the base, a step of its own.
        own = buildah.Builder(work, progress, log) if builder == "buildah" else None
        about = f"building the image {name} (about {ABOUT_SECONDS[name]} s, once)"
        with step(progress, about, f"image {name} built"), times.kept(f"image {name}"):
            if own:
                own.build(tag, containerfile, context, fresh)
            else:
                engine.build(tag, containerfile, context, fresh, command=builder, progress=progress, log=log)
        fresh.replace(archive)
        store.prune(name)
    return archive


def load(cluster: Cluster, names: Sequence[str], progress: Progress) -> dict[str, str]:
    """Have the images on the cluster's real node: built if need be, imported if not there yet.

    Returns the name of each on the node: that of what was built, also when the checkout has been edited meanwhile.

    Raises InputError when the cluster's nodes are fake, else as `build` does.
    """
    present = containers.images(cluster)
    refs = {}
    for name in names:
        archive = build(name, progress)
        refs[name] = inputs.tag(name, archive.stem.removeprefix(f"{name}-"))
        if refs[name] not in present:
            with step(progress, f"loading the image {name} (seconds)", f"image {name} loaded"):
                containers.import_image(cluster, archive, refs[name])
    return refs


def _builder(progress: Progress) -> str:
    """What builds here: `buildah` (Linux, root, the packages there or installable), else a Docker or Podman."""
    if (
        sys.platform == "linux"
        and os.geteuid() == 0
        and (packages.can_install() or not packages.missing(buildah.PACKAGES))
    ):
        packages.ensure(buildah.PACKAGES, progress)
        return "buildah"
    found = engine.find()
    if found:
        return found
    raise EnvironmentFailure(
        "nothing here can build images: no Docker or Podman answers, without them it takes root on Debian or Ubuntu",
        fix="start Docker or Podman, or run this as root on Debian or Ubuntu",
    )
