"""What may never change under data."""

from __future__ import annotations

import pulumi

from components.metadata import Identity
from components.objects import KubernetesObject
from headroom.engine.preview import FIXED_BECAUSE

SHARDS_FIXED = (
    "the number of shards is fixed once there is data: moving buckets between shards is not there yet. Keep "
    "`shards` (an override of `shards`, with its reason, holds it), or dump, delete the data and load it again"
)


def number_of_shards(
    resource_name: str, owner: Identity, shards: int, opts: pulumi.ResourceOptions
) -> KubernetesObject:
    """The number of shards, in an object that cannot be altered and is kept as long as the claims are: another number
    is refused before anything that waits for this object is touched."""
    metadata = owner.metadata("postgres-fixed", annotations={FIXED_BECAUSE: SHARDS_FIXED})
    body = {"data": {"shards": str(shards)}, "immutable": True}
    return KubernetesObject(resource_name, "v1", "ConfigMap", metadata, body, opts)
