"""The runbook's checks on a live cluster. A new component adds its checks here, in the order a person would look."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.ops.verify import h2o, postgres, redis, services, workloads
from headroom.ops.verify.model import Check, Finding, Scene, Verdict

__all__ = ["CHECKS", "Finding", "Scene", "Verdict", "run"]

CHECKS: tuple[Check, ...] = (
    workloads.namespaces,
    workloads.pods,
    workloads.rollouts,
    services.endpoints,
    services.health,
    services.autoscalers,
    h2o.cloud,
    postgres.shards,
    postgres.buckets,
    postgres.pooler,
    redis.redis,
)


def run(scene: Scene) -> Iterator[Finding]:
    """Every finding, as it is made."""
    for check in CHECKS:
        yield from check(scene)
