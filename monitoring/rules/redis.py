"""Redis under Sentinel or as a Cluster: who leads, who follows, memory, and refusals."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan, RedisPlan
from headroom.capacity.quantities import octets
from monitoring.model import Alert, Group, pods, series

PATTERN = r"redis-[0-9]+"
SLOTS = 16384


def group(plan: Plan) -> Group:
    return Group("redis", tuple(_of(plan.redis)) if plan.redis else ())


def _of(plan: RedisPlan) -> Iterator[Alert]:
    count = plan.masters.value * (1 + plan.replicas_per_master.value)
    masters = plan.masters.value

    def of(name: str, **labels: str) -> str:
        return series(f"redis_{name}", pods(PATTERN), namespace=plan.namespace, **labels)

    yield Alert(
        "RedisDown",
        f"(sum({of('up')}) or vector(0)) < {count}",
        5,
        "critical",
        "a Redis node does not answer",
        f"{{{{ $value }}}} of {count} answer: {masters} masters with {plan.replicas_per_master.value} replicas each.",
    )
    yield Alert(
        "RedisMastersMissing",
        f"(count({of('instance_info', role='master')}) or vector(0)) < {masters}",
        1,
        "critical",
        "Redis has too few masters",
        f"{{{{ $value }}}} of {masters} lead. A failover takes seconds; this has lasted for longer.",
    )
    if plan.mode == "sentinel":
        yield Alert(
            "RedisTwoMasters",
            f"count({of('instance_info', role='master')}) > 1",
            1,
            "critical",
            "Redis has two masters",
            "{{ $value }} nodes take writes, and those of all but one will be lost.",
        )
    else:
        yield Alert(
            "RedisSlotsMissing",
            f"min({of('cluster_slots_ok')}) < {SLOTS} or min({of('cluster_state')}) == 0",
            1,
            "critical",
            "the Redis Cluster does not cover all slots",
            f"Keys in the slots that are missing of {SLOTS} cannot be read or written.",
        )
    yield Alert(
        "RedisReplicaDetached",
        f"min({of('master_link_up')}) == 0",
        5,
        "warning",
        "a Redis replica has lost its master",
        "It serves what it had, and would lose writes if it took over.",
    )
    limit = octets(plan.maxmemory.value)
    if plan.maxmemory_policy.value == "noeviction":
        yield Alert(
            "RedisMemoryNearLimit",
            f"max({of('memory_used_bytes')}) > {0.9 * limit:.0f}",
            5,
            "critical",
            "Redis is about to refuse writes",
            f"A node uses {{{{ $value | humanize1024 }}}}B of maxmemory {plan.maxmemory.value}, and evicts nothing.",
        )
    else:
        hits, misses = (f"sum(rate({of(f'keyspace_{found}_total')}[15m]))" for found in ("hits", "misses"))
        yield Alert(
            "RedisCacheThrash",
            f"{hits} / ({hits} + {misses}) < 0.5 and sum(rate({of('evicted_keys_total')}[15m])) > 0",
            15,
            "warning",
            "the cache is too small for what is read",
            f"It evicts, and only {{{{ $value | humanizePercentage }}}} of the reads hit (maxmemory "
            f"{plan.maxmemory.value}).",
        )
    yield Alert(
        "RedisRefusesConnections",
        f"sum(increase({of('rejected_connections_total')}[5m])) > 0",
        1,
        "warning",
        "Redis refuses connections",
        "{{ $value | humanize }} were refused in five minutes: more clients than maxclients.",
    )
