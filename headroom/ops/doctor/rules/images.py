"""Images that a node cannot get."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from headroom.capacity.parts import PARTS
from headroom.capacity.plan.model import Plan
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

_REASONS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_BUILT_HERE = "localhost/"
# What registries and the network answer, and what it means.
_MEANINGS = (
    (("not found", "manifest unknown", "name unknown"), "the registry has no such image or tag"),
    (("unauthorized", "denied", "forbidden", "no basic auth"), "the registry wants a login that the pod has not"),
    (("x509", "certificate"), "the node does not trust the registry's certificate"),
    (("no such host", "lookup", "no route", "timeout", "refused"), "the node does not reach the registry"),
    (("toomanyrequests", "rate limit"), "the registry limits how often it is asked"),
    (("invalid reference format", "couldn't parse"), "the name is no image's name"),
)


def pulls(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Containers that wait for their image, those of one component and image together."""
    groups: dict[tuple[str, str], list[tuple[str, str, str]]] = defaultdict(list)
    for pod in objects.living(seen):
        for status in objects.containers(pod):
            reason, message = objects.waiting(status)
            if reason in _REASONS:
                image = objects.specification(pod, status["name"]).get("image") or status["image"]
                groups[objects.component(pod), image].append((objects.place(pod), reason, message))
    for (component, image), found in groups.items():
        _, reason, message = found[0]
        yield Finding(
            anchor="image-cannot-be-pulled",
            severity=Severity.error,
            component=component,
            subject=f"pod {objects.listed(place for place, _, _ in found)}",
            symptom=f"waits for its image {image}",
            because=_because(image, reason, message),
            fix=_fix(plan, component, image, message),
            evidence=(f"{reason}: {message[:400]}" if message else reason,),
        )


def _because(image: str, reason: str, message: str) -> str:
    if reason == "ErrImageNeverPull" or image.startswith(_BUILT_HERE):
        return "it is built on one machine and in no registry, and this node does not have it"
    low = message.lower()
    return next((why for words, why in _MEANINGS if any(w in low for w in words)), "the node's words are below")


def _fix(plan: Plan, component: str, image: str, message: str) -> str:
    if image.startswith(_BUILT_HERE):
        return f"headroom up --stack {plan.stack} (it builds and loads the images of the embedded cluster)"
    key = f"headroom:images.{component}" if component in PARTS else f"headroom:services.{component}.image"
    if any(w in message.lower() for w in ("unauthorized", "denied", "forbidden")):
        return f"name a pull secret in headroom:images.pullSecrets, then headroom up --stack {plan.stack}"
    back = f"headroom rollback {component} --stack {plan.stack}"
    return f"set {key} to an image that is there, then headroom up --stack {plan.stack}" + (
        f"; or, if an earlier deployment got ready, {back}" if objects.service(plan, component) else ""
    )
