"""Every pod of the plan as groups of equals: what the quota, the cluster's capacity and the cost add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from headroom.capacity.plan.connections import surge
from headroom.capacity.plan.model import (
    H2OPlan,
    PgBouncerPlan,
    PostgresPlan,
    RedisPlan,
    Resources,
    ServicePlan,
)
from headroom.capacity.plan.sizing import small
from headroom.capacity.quantities import cores, octets

JOB = small("100m", "128Mi", "1", "512Mi", "one container of a Job")
JOBS_OF_A_PART = 2
"""A part runs at most a drain and a fill (or a bootstrap and a check) at once."""


@lru_cache(maxsize=4096)
def millicores(quantity: str) -> int:
    """Thousandths of a core in a Kubernetes quantity."""
    return int(cores(quantity) * 1000)


@lru_cache(maxsize=4096)
def memory_bytes(quantity: str) -> int:
    """Bytes in a Kubernetes quantity."""
    return octets(quantity)


@dataclass(frozen=True)
class Size:
    """Thousandths of a core and bytes of one pod: requested, and its limits."""

    cpu: int
    memory: int
    cpu_limit: int
    memory_limit: int

    @staticmethod
    def of(containers: Sequence[Resources]) -> Size:
        """The sum over a pod's containers."""
        return Size(
            sum(millicores(c.cpu_request.value) for c in containers),
            sum(memory_bytes(c.memory_request.value) for c in containers),
            sum(millicores(c.cpu_limit.value) for c in containers),
            sum(memory_bytes(c.memory_limit.value) for c in containers),
        )


@dataclass(frozen=True)
class PodGroup:
    """Pods of one kind: how many at the least and at the most, and how many more for a while (`extra`: surge, Jobs).

    `volume` is bytes of each pod's claim. What is `extra` counts in the quota, not in the capacity or the cost.
    """

    component: str
    namespace: str
    pod: Size
    containers: tuple[Resources, ...]
    least: int
    most: int
    extra: int
    volume: int = 0


def of_service(service: ServicePlan, concurrency: int) -> PodGroup:
    """A service's pods with its canary. Mage's executor runs up to `concurrency` Jobs for each scheduler."""
    canary = service.canary.replicas.value if service.canary else 0
    jobs = service.max_replicas.value * concurrency if service.preset == "mage" else 0
    containers = (service.resources,)
    return PodGroup(
        component=service.key,
        namespace=service.namespace,
        pod=Size.of(containers),
        containers=containers,
        least=service.min_replicas.value + canary,
        most=service.max_replicas.value + canary,
        extra=service.surge_pods.value + surge(canary) + jobs,
    )


def of_parts(
    postgres: PostgresPlan | None, pgbouncer: PgBouncerPlan | None, redis: RedisPlan | None, h2o: H2OPlan | None
) -> list[PodGroup]:
    """The pods of the stateful parts and of PgBouncer."""
    found = []
    if postgres:
        count = postgres.nodes.value
        # Shards that go run until their buckets have moved: as many again are allowed for that while.
        found.append(_group("postgres", postgres, count, count, octets(postgres.volume_size.value)))
    if pgbouncer:
        count = pgbouncer.replicas.value
        found.append(_group("pgbouncer", pgbouncer, count, surge(count), 0))
    if redis:
        count = redis.masters.value * (1 + redis.replicas_per_master.value)
        found.append(_group("redis", redis, count, 0, octets(redis.volume_size.value)))
    if h2o:
        found.append(_group("h2o", h2o, h2o.nodes.value, 0, 0))
    return found


def jobs(postgres: PostgresPlan | None, redis: RedisPlan | None, h2o: H2OPlan | None) -> int:
    """Job pods of the parts that may run at once: one a shard, and a drain and a fill of each part."""
    shards = postgres.shards.value if postgres else 0
    return shards + JOBS_OF_A_PART * sum(part is not None for part in (postgres, redis, h2o))


def _group(
    component: str, part: PostgresPlan | PgBouncerPlan | RedisPlan | H2OPlan, count: int, extra: int, volume: int
) -> PodGroup:
    containers = (part.resources, *part.sidecars.values())
    return PodGroup(component, part.namespace, Size.of(containers), containers, count, count, extra, volume)
