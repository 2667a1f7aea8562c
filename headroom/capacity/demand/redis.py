"""What Redis is asked to hold and serve, and what one node does."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from headroom.capacity import quantities
from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import (
    Cpu,
    Dataset,
    Flag,
    Growth,
    Memory,
    Networks,
    ObjectName,
    Rate,
    RateOrZero,
    bounded,
)
from headroom.capacity.demand.overrides import RedisOverrides
from headroom.capacity.demand.problem import Problem
from headroom.capacity.demand.services import Limits

Copies = Annotated[int, bounded(quantities.whole, 0, 9, fix="replicas of each master, for example 1")]
Policy = Literal[
    "noeviction",
    "allkeys-lru",
    "allkeys-lfu",
    "allkeys-random",
    "volatile-lru",
    "volatile-lfu",
    "volatile-random",
    "volatile-ttl",
]


class Cached(Part):
    """Data and operations over all masters; `growth` is a year's."""

    dataset: Dataset
    ops_per_second: RateOrZero | None = None
    growth: Growth | None = None


class RedisNode(Part):
    """What one master holds (`maxmemory`) and serves (`opsPerSecond`)."""

    maxmemory: Memory | None = None
    ops_per_second: Rate | None = None
    cpu: Cpu | None = None
    limits: Limits | None = None


class RedisDemand(Part):
    """Redis under Sentinel (one master) or as a Cluster. `durable` says that its data is not a cache; `api_servers` are
    the networks in which the cluster's API server is, where they are known."""

    mode: Literal["sentinel", "cluster"] = "sentinel"
    demand: Cached | None = None
    node: RedisNode = RedisNode()
    replicas_per_master: Copies | None = None
    durable: Flag = False
    maxmemory_policy: Policy | None = None
    storage_class: ObjectName | None = None
    existing_secret: ObjectName | None = None
    api_servers: Networks = ()
    override: RedisOverrides = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> RedisDemand:
        if self.durable and self.maxmemory_policy not in (None, "noeviction"):
            raise Problem(
                f"is {self.maxmemory_policy!r}: a durable store must not evict what it holds",
                fix="use noeviction, or durable: false for a cache",
                at=("maxmemoryPolicy",),
            )
        if self.mode == "sentinel" and self.replicas_per_master is not None and self.replicas_per_master < 2:
            raise Problem(
                f"is {self.replicas_per_master}: Sentinel needs at least 2 replicas, so that a quorum survives one pod",
                fix="2 or more",
                at=("replicasPerMaster",),
            )
        return self
