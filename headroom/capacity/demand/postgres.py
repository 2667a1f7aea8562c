"""What the feature store is asked to hold, and what one shard was measured to do."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from headroom.capacity import quantities
from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import (
    Cpu,
    Dataset,
    Growth,
    Memory,
    Networks,
    ObjectName,
    Rate,
    RateOrZero,
    bounded,
)
from headroom.capacity.demand.overrides import PostgresOverrides
from headroom.capacity.demand.services import Limits

Copies = Annotated[int, bounded(quantities.whole, 1, 9, fix="2 is one primary and one replica")]
Connections = Annotated[int, bounded(quantities.whole, 10, 100_000, fix="for example 100")]
ParallelMoves = Annotated[int, bounded(quantities.whole, 1, 4, fix="1 keeps most of a shard for its clients")]


class Stored(Part):
    """Data and writes over all shards; `growth` is a year's."""

    dataset: Dataset
    writes_per_second: RateOrZero | None = None
    growth: Growth | None = None


class Shard(Part):
    """What one shard's node has, holds (`capacity`) and takes (`writesPerSecond`)."""

    capacity: Dataset | None = None
    writes_per_second: Rate | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None
    limits: Limits | None = None


class Moves(Part):
    """How hard buckets may be moved to other shards: so many at once, and bytes per second of all of them together."""

    max_parallel_moves: ParallelMoves | None = None
    bytes_per_second: Dataset | None = None


class PostgresDemand(Part):
    """Sharded PostgreSQL. `api_servers` are the networks in which the cluster's API server is, where they are known."""

    demand: Stored | None = None
    shard: Shard = Shard()
    replication_factor: Copies | None = None
    max_connections: Connections | None = None
    storage_class: ObjectName | None = None
    existing_secret: ObjectName | None = None
    api_servers: Networks = ()
    moves: Moves = Moves()
    override: PostgresOverrides = Field(default_factory=dict)
