"""PgBouncer, and every connection from a service's pod to a shard checked as one system.

    clients:  Σ services ((maxReplicas + surge) × connectionsPerPod)       ≤ (bouncers - 1) × max_client_conn
    servers:  (bouncers + surge) × (default_pool_size + reserve_pool_size + 1 for the auth user)
              + 3 superuser_reserved + 2 × RF replication + 5 admin        ≤ max_connections, on every shard

One bouncer fewer carries the clients, so that one may restart; a single one in `local` has no such spare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from headroom.capacity.demand.pgbouncer import PgBouncerDemand
from headroom.capacity.demand.services import Limits
from headroom.capacity.plan.model import Caution, Environment, PgBouncerPlan, PostgresPlan, ServicePlan, Sized
from headroom.capacity.plan.presets import SURGE_PERCENT
from headroom.capacity.plan.sizing import MOST_PODS, given_or, overridden, refusal, resources, small
from headroom.capacity.quantities import MI, figure
from headroom.errors import InputError

CPU = Decimal("0.5")
MEMORY = 256 * MI
MAX_CLIENT_CONN = 1000
DEFAULT_POOL_SIZE = 20
RESERVE_POOL_SIZE = 5
LEAST_POOL = 2
AUTH_USER = 1
SUPERUSER_RESERVED = 3
REPLICATION_PER_COPY = 2
ADMIN = 5
SIDECARS = {
    "exporter": small("10m", "32Mi", "100m", "64Mi", "metrics exporter beside PgBouncer"),
    "warden": small("10m", "16Mi", "100m", "64Mi", "tells PgBouncer of changes and of new primaries"),
}


@dataclass(frozen=True)
class Clients:
    """Connections that services may hold at once, and the sum in words."""

    count: int
    because: str


def surge(replicas: int) -> int:
    """Pods that a rolling update adds: maxSurge 25 %, rounded up as Kubernetes does."""
    return ceil(Fraction(replicas * SURGE_PERCENT, 100))


def client_pods(service: ServicePlan) -> int:
    """The most pods of a service at once: its maximum and its canary, each with the surge of a rolling update."""
    canary = service.canary.replicas.value if service.canary else 0
    return service.max_replicas.value + service.surge_pods.value + canary + surge(canary)


def clients(services: Sequence[ServicePlan]) -> Clients:
    """Σ services (pods × connectionsPerPod)."""
    terms = []
    total = 0
    for service in services:
        each = service.connections_per_pod.value
        if each:
            total += client_pods(service) * each
            canary = " + canary" if service.canary else ""
            terms.append(f"{service.key} ({service.max_replicas.value} + {service.surge_pods.value}{canary}) × {each}")
    shown = [*terms[:4], f"{len(terms) - 4} more"] if len(terms) > 5 else terms
    return Clients(total, f"{' + '.join(shown) or 'no service connects'} = {total:,}")


def reserved(postgres: PostgresPlan) -> int:
    """Connections of a shard that are not for pools: superuser, replication, administration."""
    return SUPERUSER_RESERVED + REPLICATION_PER_COPY * postgres.replication_factor.value + ADMIN


def servers(bouncers: int, default: int, reserve: int, postgres: PostgresPlan) -> int:
    """Connections that one shard may see: every bouncer's pools, during a rolling update too, and the reserved ones."""
    return (bouncers + surge(bouncers)) * (default + reserve + AUTH_USER) + reserved(postgres)


def room(bouncers: int, max_client_conn: int, environment: Environment) -> int:
    """Clients that the bouncers take with one of them away (a single one is allowed in local)."""
    spare = 0 if environment == "local" and bouncers == 1 else 1
    return (bouncers - spare) * max_client_conn


def plan_pgbouncer(
    demand: PgBouncerDemand,
    postgres: PostgresPlan,
    services: Sequence[ServicePlan],
    *,
    namespace: str,
    image: str,
    environment: Environment,
) -> tuple[PgBouncerPlan, list[Caution]]:
    """Bouncers and pools that hold every client and overload no shard. Raises InputError with what would work."""
    max_client_conn = overridden(
        given_or("max_client_conn", demand.max_client_conn, MAX_CLIENT_CONN, "connections", key="maxClientConn"),
        demand.override,
    )
    asked = clients(services)
    replicas = _replicas(demand, asked, max_client_conn.value, environment)
    default, reserve = _pools(
        demand,
        postgres,
        services,
        bouncers=replicas.value,
        max_client_conn=max_client_conn.value,
        environment=environment,
    )
    limits = demand.limits or Limits()
    per_database = default.value + reserve.value + AUTH_USER
    why = f"default_pool_size {default.value} + reserve_pool_size {reserve.value} + {AUTH_USER} for the auth user"
    database = overridden(
        Sized("max_db_connections", per_database, "connections", f"{why} = {per_database}", "pools"), demand.override
    )
    if database.value < default.value + AUTH_USER:
        raise refusal(
            "pgbouncer.override.max_db_connections.value",
            f"is {database.value}, below default_pool_size {default.value} + {AUTH_USER} for the auth user",
            f"{default.value + AUTH_USER} or more",
        )
    plan = PgBouncerPlan(
        namespace=namespace,
        image=image,
        replicas=replicas,
        max_client_conn=max_client_conn,
        default_pool_size=default,
        reserve_pool_size=reserve,
        max_db_connections=database,
        resources=resources(
            "pgbouncer",
            given_or("cpuRequest", demand.cpu, CPU, key="cpu"),
            given_or("memoryRequest", demand.memory, MEMORY, key="memory"),
            limits.cpu,
            limits.memory,
        ),
        min_available=Sized("minAvailable", replicas.value - 1, "pods", "all bouncers but one", "availability")
        if replicas.value > 1
        else None,
        existing_secret=demand.existing_secret,
        sidecars=SIDECARS,
    )
    warnings = []
    if default.bound_by == "max_connections":
        warnings.append(Caution("pgbouncer", f"pools were made smaller than asked: {default.because}"))
    return plan, warnings


def _replicas(demand: PgBouncerDemand, asked: Clients, max_client_conn: int, environment: Environment) -> Sized[int]:
    least = 1 if environment == "local" else 2
    count = least
    if asked.count > room(least, max_client_conn, environment):
        count = max(least, ceil(Fraction(asked.count, max_client_conn)) + 1)
    why = f"the fewest n with {asked.because} clients ≤ "
    why += f"{'n' if count == 1 else '(n - 1)'} × {max_client_conn:,} max_client_conn, at least {least}"
    bound = "clients" if count > least else "availability"
    found = overridden(Sized("replicas", count, "pods", why, bound), demand.override)
    if asked.count > room(found.value, max_client_conn, environment) or found.value < least:
        raise refusal(
            "pgbouncer.override.replicas.value",
            f"is {found.value}, and {asked.because} clients need {count} bouncers of {max_client_conn:,}, one to spare",
            f"{count} or more",
        )
    return found


def _pools(
    demand: PgBouncerDemand,
    postgres: PostgresPlan,
    services: Sequence[ServicePlan],
    *,
    bouncers: int,
    max_client_conn: int,
    environment: Environment,
) -> tuple[Sized[int], Sized[int]]:
    """Pool sizes as asked, or shrunk in proportion to what a shard's connections allow, never below 2."""
    default = given_or(
        "default_pool_size", demand.default_pool_size, DEFAULT_POOL_SIZE, "connections", key="defaultPoolSize"
    )
    reserve = given_or(
        "reserve_pool_size", demand.reserve_pool_size, RESERVE_POOL_SIZE, "connections", key="reservePoolSize"
    )
    default, reserve = overridden(default, demand.override), overridden(reserve, demand.override)
    most = postgres.max_connections.value
    if servers(bouncers, default.value, reserve.value, postgres) <= most:
        return default, reserve
    fixed = {s.setting for s in (default, reserve) if s.bound_by == "override"}
    fit = floor(Fraction(most - reserved(postgres), bouncers + surge(bouncers))) - AUTH_USER
    if fixed:
        raise refusal(
            f"pgbouncer.override.{min(fixed)}.value",
            f"is {demand.override[min(fixed)].value}: {_sum(bouncers, default, reserve, postgres)}",
            f"default_pool_size + reserve_pool_size of at most {max(0, fit)}, or a larger postgres.maxConnections",
        )
    least_reserve = min(LEAST_POOL, reserve.value)
    if fit < LEAST_POOL + least_reserve:
        raise _too_many_clients(
            postgres,
            services,
            reserve=least_reserve,
            max_client_conn=max_client_conn,
            environment=environment,
            bouncers=bouncers,
        )
    small_reserve = max(least_reserve, fit * reserve.value // (default.value + reserve.value))
    small_default = fit - small_reserve
    if small_default < LEAST_POOL:
        small_default, small_reserve = LEAST_POOL, fit - LEAST_POOL
    why = f"shrunk from {{}}, so that {bouncers} + {surge(bouncers)} bouncers × (pools + {AUTH_USER}) + "
    why += f"{reserved(postgres)} reserved ≤ {most} max_connections"
    return (
        Sized(default.setting, small_default, default.unit, why.format(default.value), "max_connections"),
        Sized(reserve.setting, small_reserve, reserve.unit, why.format(reserve.value), "max_connections"),
    )


def _sum(bouncers: int, default: Sized[int], reserve: Sized[int], postgres: PostgresPlan) -> str:
    total = servers(bouncers, default.value, reserve.value, postgres)
    most = postgres.max_connections.value
    return (
        f"({bouncers} + {surge(bouncers)}) bouncers × ({default.value} + {reserve.value} + {AUTH_USER}) + "
        f"{reserved(postgres)} reserved = {total:,} connections a shard, over max_connections {most:,}"
    )


def _too_many_clients(
    postgres: PostgresPlan,
    services: Sequence[ServicePlan],
    *,
    reserve: int,
    max_client_conn: int,
    environment: Environment,
    bouncers: int,
) -> InputError:
    """The refusal, with the largest `maxReplicas` that works for the service that connects most."""
    most = postgres.max_connections.value
    needed = servers(bouncers, LEAST_POOL, reserve, postgres)
    rule = f"is {most}, and {bouncers} bouncers with the smallest pools take {needed:,} connections a shard"
    fits = 0
    while servers(fits + 1, LEAST_POOL, reserve, postgres) <= most:
        fits += 1
    enough = f"give postgres.maxConnections: {needed}"
    connecting = [s for s in services if s.connections_per_pod.value]
    if not connecting or fits < (1 if environment == "local" else 2):
        return refusal("postgres.maxConnections", rule, enough)
    largest = max(connecting, key=lambda s: client_pods(s) * s.connections_per_pod.value)
    each = largest.connections_per_pod.value
    others = clients(services).count - client_pods(largest) * each
    left = floor(Fraction(room(fits, max_client_conn, environment) - others, each))
    extra = client_pods(largest) - largest.max_replicas.value - largest.surge_pods.value
    works = max((left - extra) * 100 // (100 + SURGE_PERCENT), 0)
    while works and works + surge(works) + extra > left:
        works -= 1
    if works < 1:
        return refusal("postgres.maxConnections", rule, enough)
    rule += f": {clients(services).because} clients are too many"
    return refusal(
        "postgres.maxConnections",
        rule,
        f"the largest maxReplicas of {largest.key} that works is {figure(min(works, MOST_PODS))}; or {enough}",
    )
