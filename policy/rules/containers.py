"""What every container must say of itself: its resources, its probes, and exactly which image."""

from __future__ import annotations

from collections.abc import Iterator

from policy.rules.model import LONG_RUNNING, Manifest, ObjectRule, containers, pod


def resources(manifest: Manifest) -> Iterator[str]:
    """Containers without requests and limits of cpu and memory: they can neither be placed nor scaled on."""
    template = pod(manifest)
    for container in containers(template) if template else ():
        stated = container.spec.get("resources") or {}
        missing = [
            f"{side}.{what}"
            for side in ("requests", "limits")
            for what in ("cpu", "memory")
            if (stated.get(side) or {}).get(what) in (None, "")
        ]
        if missing:
            yield f"container {container.name}: set resources {', '.join(missing)}"


def probes(manifest: Manifest) -> Iterator[str]:
    """Containers that serve without readiness and liveness probes.

    Jobs end by themselves, and init containers that are no sidecars run before there is anything to probe.
    """
    template = pod(manifest)
    if template is None or manifest.get("kind") not in LONG_RUNNING:
        return
    for container in containers(template):
        wanted = {"containers": ("readinessProbe", "livenessProbe"), "sidecar": ("livenessProbe",)}.get(
            container.role, ()
        )
        for probe in wanted:
            if not container.spec.get(probe):
                yield f"container {container.name}: set {probe}"


def images(manifest: Manifest) -> Iterator[str]:
    """Images without a tag or digest, or with the tag `latest`: what runs tomorrow would not be what was reviewed."""
    template = pod(manifest)
    for container in containers(template) if template else ():
        image = str(container.spec.get("image") or "")
        tag = image.rpartition("/")[2].partition("@")[0].partition(":")[2]
        if "@" not in image and tag in ("", "latest"):
            yield f"container {container.name}: image {image!r} needs a version tag or a digest"


RESOURCES = ObjectRule("resources", "Every container has requests and limits of cpu and memory.", resources)
PROBES = ObjectRule("probes", "Every container that serves has readiness and liveness probes.", probes)
IMAGES = ObjectRule("no-latest", "Every image has a version tag other than latest, or a digest.", images)
