"""Masters, memory and volumes of Redis."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from math import ceil

from headroom.capacity.demand.redis import RedisDemand
from headroom.capacity.demand.services import Limits
from headroom.capacity.plan.model import Caution, RedisPlan, Sized
from headroom.capacity.plan.sizing import given_or, grown, overridden, overridden_bytes, refusal, resources, small
from headroom.capacity.quantities import GI, MI, figure, memory_text, octets, size_text, volume_text

CPU = Decimal(1)
MAXMEMORY = GI
OPS_PER_MASTER = Decimal(50_000)
OVERHEAD = Fraction(6, 5)
"""Per-key overhead and fragmentation."""
SHARE = Fraction(3, 4)
"""Of the container's memory, what `maxmemory` may take: copy-on-write and fragmentation need the rest."""
REPLICA_BUFFER = 256 * MI
SLOTS = 16_384
MANY_MASTERS = 500
SENTINELS, QUORUM = 3, 2
WHY_SENTINELS = "the fewest whose majority survives the loss of one"
SIDECARS = {"exporter": small("10m", "32Mi", "100m", "64Mi", "metrics exporter beside Redis")}
SENTINEL = {"sentinel": small("10m", "32Mi", "100m", "64Mi", "a sentinel beside each Redis")}


def plan_redis(
    demand: RedisDemand, namespace: str, image: str, months: int = 0
) -> tuple[RedisPlan, list[Sized[int] | Sized[Decimal] | Sized[str]], list[Caution]]:
    """Size Redis. Raises InputError where the data does not fit the mode or an override."""
    sentinel = demand.mode == "sentinel"
    maxmemory = overridden_bytes(_maxmemory(demand), demand.override)
    ops = given_or("opsPerMaster", demand.node.ops_per_second, OPS_PER_MASTER, "ops/s", key="node.opsPerSecond")
    masters = _masters(demand, octets(maxmemory.value), ops.value, months)
    copies = given_or(
        "replicasPerMaster", demand.replicas_per_master, 2 if sentinel else 1, "pods", key="replicasPerMaster"
    )
    container = _container(demand, maxmemory.value, copies.value)
    limits = demand.node.limits or Limits()
    memory = Sized("memoryRequest", octets(container.value), "", "containerMemory", container.bound_by)
    pods = masters.value * (1 + copies.value)
    policy = given_or(
        "maxmemoryPolicy",
        demand.maxmemory_policy,
        "noeviction" if demand.durable else "allkeys-lru",
        key="maxmemoryPolicy",
        why="durable data is never evicted" if demand.durable else "default for a cache",
    )
    plan = RedisPlan(
        namespace=namespace,
        image=image,
        mode=demand.mode,
        masters=masters,
        replicas_per_master=copies,
        sentinels=Sized("sentinels", SENTINELS, "pods", "the least whose quorum survives one", "mode")
        if sentinel
        else None,
        quorum=Sized("quorum", QUORUM, "sentinels", f"a majority of {SENTINELS}", "mode") if sentinel else None,
        maxmemory=maxmemory,
        maxmemory_policy=policy,
        container_memory=container,
        resources=resources(
            "redis.node",
            given_or("cpuRequest", demand.node.cpu, CPU, key="node.cpu"),
            memory,
            limits.cpu,
            limits.memory,
            memory_factor=1,
        ),
        volume_size=_volume(demand, maxmemory.value),
        min_available=Sized("minAvailable", pods - 1, "pods", f"all {pods} pods but one", "availability")
        if pods > 1
        else None,
        storage_class=demand.storage_class,
        existing_secret=demand.existing_secret,
        api_servers=demand.api_servers,
        durable=demand.durable,
        sidecars={**SENTINEL, **SIDECARS} if sentinel else SIDECARS,
    )
    return plan, [ops], _cautions(plan)


def _maxmemory(demand: RedisDemand) -> Sized[str]:
    given = memory_text(demand.node.maxmemory) if demand.node.maxmemory is not None else None
    return given_or("maxmemory", given, memory_text(MAXMEMORY), key="node.maxmemory")


def _masters(demand: RedisDemand, maxmemory: int, ops: Decimal, months: int) -> Sized[int]:
    load = demand.demand
    data = grown(load.dataset, load.growth, months) * OVERHEAD if load else Fraction(0)
    rate = grown(load.ops_per_second or 0, load.growth, months) if load else Fraction(0)
    by_data, by_ops = ceil(data / maxmemory), ceil(rate / Fraction(ops))
    needs = f"{size_text(data)} (the data set × 1.2) in {memory_text(maxmemory)} a master"
    if demand.mode == "sentinel":
        return _one_master(demand, by_data, by_ops, needs, data)
    terms = {"data": by_data, "operations": by_ops, "at least three": 3}
    bound = max(terms, key=lambda name: terms[name])
    why = f"max(3; ceil({size_text(data)} / {memory_text(maxmemory)}) = {by_data}; "
    why += f"ceil({figure(rate)} / {figure(ops)} ops/s) = {by_ops}) = {terms[bound]}"
    found = overridden(Sized("masters", terms[bound], "pods", why, bound), demand.override)
    if found.value < terms[bound]:
        raise refusal(
            "redis.override.masters.value",
            f"is {found.value}, and the demand needs {terms[bound]}: {why}",
            f"{terms[bound]} or more",
        )
    if found.value > SLOTS:
        raise refusal(
            "redis.demand",
            f"needs {figure(found.value)} masters ({why}), and a cluster has {SLOTS:,} slots, one a master at least",
            "give node.maxmemory and node.opsPerSecond of larger nodes",
        )
    return found


def _one_master(demand: RedisDemand, by_data: int, by_ops: int, needs: str, data: Fraction) -> Sized[int]:
    if by_data > 1:
        raise refusal(
            "redis.mode",
            f"is 'sentinel', whose one master must hold everything, and {needs} takes {by_data}",
            f"use mode: cluster, or node.maxmemory of at least {ceil(data / MI)}Mi",
        )
    if by_ops > 1:
        raise refusal("redis.mode", f"is 'sentinel', and the operations take {by_ops} masters", "use mode: cluster")
    found = overridden(Sized("masters", 1, "pods", "mode sentinel has one master", "mode"), demand.override)
    if found.value != 1:
        raise refusal(
            "redis.override.masters.value", f"is {found.value}: mode sentinel has one master", "use mode: cluster"
        )
    return found


def _container(demand: RedisDemand, maxmemory: str, copies: int) -> Sized[str]:
    least = ceil((Fraction(octets(maxmemory)) / SHARE + copies * REPLICA_BUFFER) / MI) * MI
    text = memory_text(least)
    why = f"maxmemory {maxmemory} / 0.75 + 256Mi × {copies} replicas = {text}"
    found = overridden_bytes(Sized("containerMemory", text, "", why, "maxmemory"), demand.override)
    if octets(found.value) < least:
        raise refusal(
            "redis.override.containerMemory.value",
            f"is {found.value}, and maxmemory {maxmemory} does not fit it safely: {why}",
            f"{text} or more, or a smaller maxmemory",
        )
    return found


def _volume(demand: RedisDemand, maxmemory: str) -> Sized[str]:
    text = volume_text(2 * octets(maxmemory))
    why = f"2 × maxmemory {maxmemory}: the append-only file and its rewrite = {text}"
    found = overridden_bytes(Sized("volumeSize", text, "", why, "maxmemory"), demand.override, volume=True)
    if octets(found.value) < octets(maxmemory):
        raise refusal(
            "redis.override.volumeSize.value", f"is {found.value}, below maxmemory {maxmemory}", f"{text} is safe"
        )
    return found


def _cautions(plan: RedisPlan) -> list[Caution]:
    found = []
    if plan.masters.value > MANY_MASTERS:
        found.append(
            Caution(
                "redis", f"{plan.masters.value:,} masters: past {MANY_MASTERS} the cluster bus itself becomes a load"
            )
        )
    if plan.replicas_per_master.value == 0:
        found.append(Caution("redis", "replicasPerMaster is 0: a lost master is lost slots, and nothing takes over"))
    if plan.durable:
        found.append(
            Caution("redis", "replication is asynchronous: writes acknowledged just before a failover can be lost")
        )
    return found
