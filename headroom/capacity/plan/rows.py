"""The plan as rows, in a stable order: components as the stack file has them, settings as the plan's types do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Any

from headroom.capacity.plan.model import (
    H2OPlan,
    Line,
    PgBouncerPlan,
    PostgresPlan,
    RedisPlan,
    Resources,
    ServicePlan,
    Sized,
)


def of_service(service: ServicePlan, assumptions: Iterable[Sized[Any]]) -> Iterator[Line]:
    """What an operator asks first comes first: replicas, latency, autoscaling; then the pod."""
    scaling = service.autoscaling
    settings: list[Sized[Any] | None] = [
        service.replicas_at_target,
        service.min_replicas,
        service.max_replicas,
        service.predicted_p99_ms,
        scaling.cpu_utilization,
        scaling.pods_metric.average if scaling.pods_metric else None,
        service.min_available,
        service.surge_pods,
        service.canary.replicas if service.canary else None,
        *_resources(service.resources),
        service.worker_threads,
        service.queue_limit,
        service.cache_capacity,
        service.connections_per_pod,
        service.drain.grace_period_seconds,
        *assumptions,
    ]
    return _lines(service.key, settings)


def of_postgres(plan: PostgresPlan, assumptions: Iterable[Sized[Any]]) -> Iterator[Line]:
    settings: list[Sized[Any] | None] = [
        plan.shards,
        plan.nodes,
        plan.replication_factor,
        plan.volume_size,
        *_resources(plan.resources),
        *plan.parameters.values(),
        plan.shared_memory,
        plan.max_connections,
        plan.min_available,
        plan.buckets,
        plan.max_parallel_moves,
        plan.move_bytes_per_second,
        *assumptions,
    ]
    yield from _lines("postgres", settings)
    yield from _sidecars("postgres", plan)


def of_pgbouncer(plan: PgBouncerPlan) -> Iterator[Line]:
    settings: list[Sized[Any] | None] = [
        plan.replicas,
        plan.max_client_conn,
        plan.default_pool_size,
        plan.reserve_pool_size,
        plan.max_db_connections,
        *_resources(plan.resources),
        plan.min_available,
    ]
    yield from _lines("pgbouncer", settings)
    yield from _sidecars("pgbouncer", plan)


def of_redis(plan: RedisPlan, assumptions: Iterable[Sized[Any]]) -> Iterator[Line]:
    settings: list[Sized[Any] | None] = [
        plan.masters,
        plan.replicas_per_master,
        plan.sentinels,
        plan.quorum,
        plan.maxmemory,
        plan.maxmemory_policy,
        plan.container_memory,
        *_resources(plan.resources),
        plan.volume_size,
        plan.min_available,
        *assumptions,
    ]
    yield from _lines("redis", settings)
    yield from _sidecars("redis", plan)


def of_h2o(plan: H2OPlan) -> Iterator[Line]:
    settings: list[Sized[Any] | None] = [
        plan.nodes,
        plan.heap,
        plan.native_memory,
        plan.container_memory,
        *_resources(plan.resources),
        plan.export_volume_size,
        plan.scratch_size,
    ]
    yield from _lines("h2o", settings)
    yield from _sidecars("h2o", plan)


def of_total(settings: Iterable[Sized[Any]]) -> Iterator[Line]:
    return _lines("total", settings)


def _lines(component: str, settings: Iterable[Sized[Any] | None]) -> Iterator[Line]:
    for sized in settings:
        if sized is not None:
            yield Line(component, sized.setting, _plain(sized.value), sized.unit, sized.because, sized.bound_by)


def _resources(of: Resources) -> tuple[Sized[str], ...]:
    return of.cpu_request, of.cpu_limit, of.memory_request, of.memory_limit


def _sidecars(component: str, plan: PostgresPlan | PgBouncerPlan | RedisPlan | H2OPlan) -> Iterator[Line]:
    for name, container in plan.sidecars.items():
        for sized in (container.cpu_request, container.memory_request):
            setting = f"{name}{sized.setting[0].upper()}{sized.setting[1:]}"
            yield Line(component, setting, sized.value, sized.unit, sized.because, sized.bound_by)


def _plain(value: Any) -> int | float | str:
    """A value as JSON has it: a decimal becomes a number."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    found: int | float | str = value
    return found
