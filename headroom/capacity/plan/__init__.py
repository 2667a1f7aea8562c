"""Demand in, plan out: pure functions without I/O, clock or Pulumi.

`make(demand, months=0)` sizes everything, each number with the formula that made it and the constraint that bound it,
or raises one `InputError` that says why it cannot be and which number would work.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headroom.capacity.demand import StackDemand
from headroom.capacity.demand.pgbouncer import PgBouncerDemand
from headroom.capacity.plan import cost, invariants, rows
from headroom.capacity.plan.connections import plan_pgbouncer
from headroom.capacity.plan.h2o import plan_h2o
from headroom.capacity.plan.model import (
    Caution,
    H2OPlan,
    ImagesPlan,
    Line,
    Plan,
    PostgresPlan,
    RedisPlan,
    ServicePlan,
)
from headroom.capacity.plan.pods import JOB, PodGroup, jobs, of_parts, of_service
from headroom.capacity.plan.postgres import plan_postgres
from headroom.capacity.plan.quota import plan_namespace
from headroom.capacity.plan.redis import plan_redis
from headroom.capacity.plan.sizing import grown
from headroom.capacity.plan.stateless import Planned, plan_service

__all__ = ["Plan", "make"]

IMAGES = {
    "postgres": "localhost/headroom/postgres:0.1.0",
    "pgbouncer": "localhost/headroom/pgbouncer:0.1.0",
    "redis": "localhost/headroom/redis:0.1.0",
    "h2o": "localhost/headroom/h2o:0.1.0",
}
"""What the local cluster builds from `images/`."""
JOBS_PER_SCHEDULER = 20


def make(demand: StackDemand, months: int = 0) -> Plan:
    """The plan of a stack, for its demand now or in `months` months. Raises InputError."""
    lines: list[Line] = []
    warnings: list[Caution] = []
    services = [_service(key, demand, months) for key in demand.services]
    for found in services:
        lines += rows.of_service(found.plan, found.assumptions)
        warnings += found.warnings
    plans = [found.plan for found in services]

    where = demand.namespace
    postgres = pgbouncer = redis = h2o = None
    if demand.postgres is not None:
        postgres, assumed, cautions = plan_postgres(
            demand.postgres, where, _image("postgres", demand, warnings), months
        )
        lines += rows.of_postgres(postgres, assumed)
        warnings += cautions
        pgbouncer, cautions = plan_pgbouncer(
            demand.pgbouncer or PgBouncerDemand(),
            postgres,
            plans,
            namespace=where,
            image=_image("pgbouncer", demand, warnings),
            environment=demand.environment,
        )
        lines += rows.of_pgbouncer(pgbouncer)
        warnings += cautions
    if demand.redis is not None:
        redis, assumed, cautions = plan_redis(demand.redis, where, _image("redis", demand, warnings), months)
        lines += rows.of_redis(redis, assumed)
        warnings += cautions
    if demand.h2o is not None:
        h2o, assumed, cautions = plan_h2o(demand.h2o, where, _image("h2o", demand, warnings), months)
        lines += rows.of_h2o(h2o)
        warnings += cautions

    warnings += _exposed([s for s in plans if s.preset == "mage" and s.namespace == where], postgres, redis, h2o)

    parts = of_parts(postgres, pgbouncer, redis, h2o)
    groups = [of_service(plan, _concurrency(plan.key, demand)) for plan in plans] + parts
    if demand.nodes is not None:
        invariants.check_nodes(demand.nodes, groups)
    price = cost.prices(demand.prices)
    at_min = cost.monthly("monthlyCostAtMin", groups, h2o, price, at_most=False)
    at_max = cost.monthly("monthlyCostAtMax", groups, h2o, price, at_most=True)
    lines += rows.of_total([at_min, at_max, *price])
    if not groups:
        warnings.append(Caution("total", "this stack asks for nothing: no service, and none of the parts"))
    part_jobs = jobs(postgres, redis, h2o)
    return Plan(
        stack=demand.stack,
        environment=demand.environment,
        namespace=where,
        images=ImagesPlan(demand.images.pull_policy, demand.images.pull_secrets),
        namespaces=tuple(
            plan_namespace(name, inside, part_jobs if name == where else 0)
            for name, inside in _by_namespace(where, groups)
        ),
        services=tuple(plans),
        postgres=postgres,
        pgbouncer=pgbouncer,
        redis=redis,
        h2o=h2o,
        monthly_cost_at_min=at_min,
        monthly_cost_at_max=at_max,
        lines=tuple(lines),
        warnings=tuple(warnings),
        job=JOB,
    )


def _service(key: str, demand: StackDemand, months: int) -> Planned:
    asked = demand.services[key]
    found = plan_service(key, asked, demand.namespace, demand.environment, months)
    invariants.check_bounds(found.plan, tiered=asked.tier is not None)
    if asked.demand is not None and asked.demand.target_rps is not None:
        invariants.check_balancer(found.plan, grown(asked.demand.target_rps, asked.demand.growth, months))
    return found


def _exposed(
    schedulers: Iterable[ServicePlan], postgres: PostgresPlan | None, redis: RedisPlan | None, h2o: H2OPlan | None
) -> list[Caution]:
    """Mage's account may make Jobs, and a Job may mount any Secret of its namespace."""
    there = {"PostgreSQL": postgres, "Redis": redis, "H2O": h2o}
    names = [name for name, part in there.items() if part is not None]
    if not names:
        return []
    words = (
        f"shares its namespace with {' and '.join(names)}: whoever writes its pipelines can run Jobs there, which can "
        "read their passwords; give it a namespace of its own with namespace:"
    )
    return [Caution(service.key, words) for service in schedulers]


def _image(part: str, demand: StackDemand, warnings: list[Caution]) -> str:
    given: str | None = getattr(demand.images, part)
    if given is not None:
        return given
    if demand.environment != "local":
        words = (
            f"no image is given: {IMAGES[part]} is what the local cluster builds, and no other cluster can pull it; "
        )
        warnings.append(Caution(part, words + f"set headroom:images.{part}"))
    return IMAGES[part]


def _concurrency(key: str, demand: StackDemand) -> int:
    load = demand.services[key].demand
    return (load.concurrency if load else None) or JOBS_PER_SCHEDULER


def _by_namespace(own: str, groups: Iterable[PodGroup]) -> list[tuple[str, list[PodGroup]]]:
    """The stack's own namespace first, then those that services ask for, by name."""
    found: dict[str, list[Any]] = {own: []}
    for group in groups:
        found.setdefault(group.namespace, []).append(group)
    return [(own, found.pop(own)), *sorted(found.items())]
