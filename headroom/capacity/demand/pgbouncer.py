"""The connection pooler in front of the shards."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from headroom.capacity import quantities
from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import Cpu, Memory, ObjectName, bounded
from headroom.capacity.demand.overrides import PgBouncerOverrides
from headroom.capacity.demand.services import Limits

Clients = Annotated[int, bounded(quantities.whole, 1, 100_000, fix="for example 1000")]
PoolSize = Annotated[int, bounded(quantities.whole, 2, 10_000, fix="2 or more, for example 20")]
Reserve = Annotated[int, bounded(quantities.whole, 0, 10_000, fix="for example 5")]


class PgBouncerDemand(Part):
    """PgBouncer's seed values; pools shrink where a shard's connections would not suffice."""

    max_client_conn: Clients | None = None
    default_pool_size: PoolSize | None = None
    reserve_pool_size: Reserve | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    limits: Limits | None = None
    existing_secret: ObjectName | None = None
    override: PgBouncerOverrides = Field(default_factory=dict)
