"""The runbook's checks on a live cluster. A new component adds its checks here, in the order a person would look."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.errors import EnvironmentFailure
from headroom.ops.verify import buckets, expiry, h2o, postgres, redis, services, workloads
from headroom.ops.verify.model import Check, Finding, Scene, Verdict

__all__ = ["CHECKS", "Finding", "Scene", "Verdict", "run"]

CHECKS: tuple[Check, ...] = (
    workloads.namespaces,
    workloads.pods,
    workloads.rollouts,
    services.endpoints,
    services.health,
    services.metrics,
    services.autoscalers,
    h2o.cloud,
    postgres.shards,
    buckets.buckets,
    postgres.pooler,
    redis.redis,
    expiry.certificates,
)


def run(scene: Scene) -> Iterator[Finding]:
    """Every finding, as it is made. A check that gets no answer has failed, and the others go on, unless the API server
    itself does not answer: then that is the one finding."""
    for check in CHECKS:
        try:
            yield from check(scene)
        except EnvironmentFailure as error:
            silent = _silence(scene)
            yield silent or Finding(
                "cluster", check.__name__.strip("_"), Verdict.failed, error.message[:300], error.fix
            )
            if silent:
                return


def _silence(scene: Scene) -> Finding | None:
    try:
        scene.kubectl.run("version", "-o", "json", timeout=20)
    except EnvironmentFailure as error:
        return Finding("cluster", "answers", Verdict.failed, error.message[:300], error.fix)
    return None
