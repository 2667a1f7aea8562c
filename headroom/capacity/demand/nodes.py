"""The nodes of the cluster, where they are known: what the largest has, and how many there may be."""

from __future__ import annotations

from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import Cpu, Memory, Replicas


class NodesDemand(Part):
    """`cpu` and `memory` are what pods can have of one node; `max` is the most nodes that there may be."""

    cpu: Cpu
    memory: Memory
    max: Replicas | None = None
