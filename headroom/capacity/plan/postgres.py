"""Shards, volumes and memory settings of the feature store."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil

from headroom.capacity.demand.postgres import PostgresDemand
from headroom.capacity.demand.services import Limits
from headroom.capacity.plan.buckets import BUCKETS
from headroom.capacity.plan.model import Caution, PostgresPlan, Resources, Sized
from headroom.capacity.plan.sizing import (
    given_or,
    grown,
    overridden,
    overridden_bytes,
    refusal,
    resources,
    small,
)
from headroom.capacity.quantities import GI, MI, figure, memory_text, octets, size_text, volume_text

CPU = Decimal(2)
MEMORY = 8 * GI
SHARD_CAPACITY = 10**12
SHARD_WRITES = Decimal(10_000)
REPLICATION_FACTOR = 2
MAX_CONNECTIONS = 100
PARALLEL_MOVES = 1
"""A shard keeps more of itself for its clients than beside two at once (docs/performance.md, moving buckets)."""
FULLEST = Fraction(7, 10)
"""A volume is planned to be 70 % full after a year's growth."""
KEPT_FOR_A_STANDBY = Fraction(1, 10)
"""Of a volume, what may be kept for a standby that is away: a third of what is planned to be free."""
KEEPER = small("10m", "32Mi", "100m", "128Mi", "keeps configuration and passwords beside PostgreSQL")


def plan_postgres(
    demand: PostgresDemand, namespace: str, image: str, months: int = 0
) -> tuple[PostgresPlan, list[Sized[int] | Sized[Decimal] | Sized[str]], list[Caution]]:
    """Size the shards. Raises InputError where an override is below what the data needs."""
    capacity = given_or("shardCapacity", demand.shard.capacity, SHARD_CAPACITY, "bytes", key="shard.capacity")
    writes = given_or(
        "shardWritesPerSecond", demand.shard.writes_per_second, SHARD_WRITES, "writes/s", key="shard.writesPerSecond"
    )
    shards = _shards(demand, capacity.value, writes.value, months)
    copies = given_or("replicationFactor", demand.replication_factor, REPLICATION_FACTOR, key="replicationFactor")
    count = shards.value * copies.value
    limits = demand.shard.limits or Limits()
    size = resources(
        "postgres.shard",
        given_or("cpuRequest", demand.shard.cpu, CPU, key="shard.cpu"),
        given_or("memoryRequest", demand.shard.memory, MEMORY, key="shard.memory"),
        limits.cpu,
        limits.memory,
        memory_factor=1,
    )
    connections = overridden(
        given_or("max_connections", demand.max_connections, MAX_CONNECTIONS, "connections", key="maxConnections"),
        demand.override,
    )
    standby = copies.value - 1
    volume = _volume(demand, capacity.value, shards.value, months)
    plan = PostgresPlan(
        namespace=namespace,
        image=image,
        shards=shards,
        nodes=Sized("nodes", count, "pods", f"{shards.value} shards × {copies.value} copies = {count}", "shards"),
        replication_factor=copies,
        volume_size=volume,
        resources=size,
        parameters=_parameters(demand, size, connections.value) | _kept(demand, volume),
        shared_memory=_shared_memory(size),
        max_connections=connections,
        min_available=Sized("minAvailable", standby, "pods", "all copies of a shard but one", "availability")
        if standby
        else None,
        max_parallel_moves=given_or(
            "maxParallelMoves", demand.moves.max_parallel_moves, PARALLEL_MOVES, "buckets", key="moves.maxParallelMoves"
        ),
        move_bytes_per_second=given_or(
            "moveBytesPerSecond",
            demand.moves.bytes_per_second,
            0,
            "bytes/s",
            key="moves.bytesPerSecond",
            why="0 is no bound: moves.bytesPerSecond is silent",
        ),
        buckets=Sized("buckets", BUCKETS, "buckets", "fixed for the life of the data", "design"),
        storage_class=demand.storage_class,
        existing_secret=demand.existing_secret,
        api_servers=demand.api_servers,
        sidecars={"keeper": KEEPER},
    )
    return plan, [capacity, writes], _cautions(plan)


def _shards(demand: PostgresDemand, capacity: int, writes: Decimal, months: int) -> Sized[int]:
    load = demand.demand
    if load is None:
        return overridden(Sized("shards", 1, "shards", "no demand is given", "default"), demand.override)
    data = grown(load.dataset, load.growth, months)
    rate = grown(load.writes_per_second or 0, load.growth, months)
    terms = {"data": ceil(data / capacity), "writes": ceil(rate / Fraction(writes)), "at least one": 1}
    bound = max(terms, key=lambda name: terms[name])
    why = f"max(ceil({size_text(data)} / {size_text(capacity)}) = {terms['data']}; "
    why += f"ceil({figure(rate)} / {figure(writes)} writes/s) = {terms['writes']}; 1) = {terms[bound]}"
    found = overridden(Sized("shards", terms[bound], "shards", why, bound), demand.override)
    if found.value < terms[bound]:
        raise refusal(
            "postgres.override.shards.value",
            f"is {found.value}, and the data needs {terms[bound]}: {why}",
            f"{terms[bound]} or more",
        )
    if found.value > BUCKETS:
        raise refusal(
            "postgres.demand",
            f"needs {figure(found.value)} shards ({why}), and there are {BUCKETS} buckets, one a shard at least",
            "give shard.capacity and shard.writesPerSecond of larger nodes, or ask for less",
        )
    return found


def _volume(demand: PostgresDemand, capacity: int, shards: int, months: int) -> Sized[str]:
    load = demand.demand
    growth = Fraction(load.growth or 0) if load else Fraction(0)
    data = grown(load.dataset, load.growth, months) / shards if load else Fraction(capacity)
    least = data / FULLEST
    text = volume_text(least * (1 + growth))
    of = f"{size_text(data * shards)} / {shards} shards" if load else f"a full shard of {size_text(capacity)}"
    why = f"{of} × (1 + {figure(growth)}) / 0.7, up to a whole Gi = {text}"
    found = overridden_bytes(Sized("volumeSize", text, "", why, "data"), demand.override, volume=True)
    if octets(found.value) < least:
        raise refusal(
            "postgres.override.volumeSize.value",
            f"is {found.value}, and {size_text(data)} a shard at 70 % needs {volume_text(least)}",
            f"{volume_text(least)} or more",
        )
    return found


def _parameters(demand: PostgresDemand, size: Resources, connections: int) -> dict[str, Sized[int] | Sized[str]]:
    memory = octets(size.memory_request.value)
    has = size.memory_request.value

    def parameter(name: str, value: Fraction | int, why: str, bound: str = "memory") -> Sized[str]:
        text = memory_text(int(value) // MI * MI)
        return overridden_bytes(Sized(name, text, "", f"{why} = {text}", bound), demand.override)

    shared = parameter("shared_buffers", Fraction(memory, 4), f"memory {has} / 4")
    cache = parameter("effective_cache_size", Fraction(memory * 3, 4), f"memory {has} × 3/4")
    upkeep = min(memory // 16, 2 * GI)
    maintenance = parameter(
        "maintenance_work_mem", max(MI, upkeep), f"min(memory {has} / 16, 2Gi)", "memory" if upkeep < 2 * GI else "2Gi"
    )
    rest = Fraction(memory - octets(shared.value), 3 * connections)
    work = parameter(
        "work_mem",
        max(rest, Fraction(4 * MI)),
        f"max((memory {has} - shared_buffers {shared.value}) / (3 × {connections} max_connections), 4Mi)",
        "memory" if rest >= 4 * MI else "at least 4Mi",
    )
    if octets(shared.value) + octets(maintenance.value) > memory:
        raise refusal(
            "postgres.override",
            f"gives shared_buffers {shared.value} and maintenance_work_mem {maintenance.value}, over the memory {has}",
            f"together at most {has}",
        )
    return {s.setting: s for s in (shared, cache, maintenance, work)}


def _kept(demand: PostgresDemand, volume: Sized[str]) -> dict[str, Sized[int] | Sized[str]]:
    """How much WAL a standby's slot may hold back: without a bound one that never comes back fills the disk."""
    text = memory_text(int(octets(volume.value) * KEPT_FOR_A_STANDBY) // MI * MI)
    why = f"volumeSize {volume.value} / 10, a third of what is planned to be free = {text}"
    kept = overridden_bytes(Sized("max_slot_wal_keep_size", text, "", why, "data"), demand.override)
    return {kept.setting: kept}


def _shared_memory(size: Resources) -> Sized[str]:
    """`/dev/shm`, through which the workers of a parallel query share their tables."""
    has = size.memory_request.value
    text = memory_text(max(octets(has) // 16, 64 * MI) // MI * MI)
    return Sized("sharedMemory", text, "", f"max(memory {has} / 16, 64Mi) = {text}", "memory")


def _cautions(plan: PostgresPlan) -> list[Caution]:
    found = []
    if plan.replication_factor.value == 1:
        found.append(
            Caution("postgres", "replicationFactor is 1: a lost node is lost data, and no failover is possible")
        )
    memory = octets(plan.resources.memory_request.value)
    parameters = plan.parameters
    shared, work = (octets(str(parameters[name].value)) for name in ("shared_buffers", "work_mem"))
    connections = plan.max_connections.value
    if shared + connections * work > memory:
        fit = max(1, (memory - shared) // work)
        found.append(
            Caution(
                "postgres",
                f"{connections} connections that all sort at once take {memory_text(connections * work)} beside "
                f"shared_buffers {memory_text(shared)}: more than the memory {memory_text(memory)}; "
                f"give more memory, or max_connections of at most {fit}",
            )
        )
    return found
