"""A quota that shrinks does so last: a rollout to smaller pods begins beside the larger ones, in their room."""

from __future__ import annotations

from dataclasses import replace

from headroom.capacity.quantities import cores, octets
from headroom.engine.rendered import Manifest, RenderedObject

_THOUSAND = 1_000


def amount(resource: str, quantity: str) -> int:
    """Thousandths of a core, bytes, or a count."""
    if resource.endswith("cpu"):
        return int(cores(quantity) * _THOUSAND)
    return int(quantity) if quantity.isdigit() else octets(quantity)


def with_former_room(o: RenderedObject, before: Manifest | None) -> RenderedObject:
    """A ResourceQuota with the larger of its former and its new bounds; `o` itself if none of them shrinks."""
    if o.id.kind != "ResourceQuota" or before is None:
        return o
    was, hard = before["spec"].get("hard", {}), o.manifest["spec"]["hard"]
    most = {k: was[k] if k in was and amount(k, was[k]) > amount(k, v) else v for k, v in hard.items()}
    if most == hard:
        return o
    return replace(o, manifest={**o.manifest, "spec": {**o.manifest["spec"], "hard": most}})
