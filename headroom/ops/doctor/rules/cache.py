"""Caches that are told to grow larger than their pod bears."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from math import floor

from headroom.capacity.plan.model import Plan
from headroom.capacity.plan.presets import CACHE_ENTRIES_PER_GIB
from headroom.capacity.quantities import GI, MI
from headroom.ops.diff.quantity import number
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

_CAPACITY = ("INFERADB__CACHE__MAX_CAPACITY", "INFERADB__ENGINE__CACHE__CAPACITY")
REDIS_SHARE = Decimal("0.8")
"""Of its container's limit; the plan gives maxmemory three quarters, less what replicas buffer."""


def capacity(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A service's own cache has room for more entries than its memory."""
    for service in plan.services:
        place = f"{service.namespace}/{service.key}"
        live = next((d for d in seen.deployments if objects.place(d) == place), None)
        if live is None:
            continue
        container = live["spec"]["template"]["spec"]["containers"][0]
        values = objects.settings(seen, live)
        entries = next((values[name] for name in _CAPACITY if values.get(name)), "")
        memory = number(((container.get("resources") or {}).get("requests") or {}).get("memory"))
        if not entries.isdigit() or memory is None:
            continue
        most = floor(CACHE_ENTRIES_PER_GIB * memory / GI)
        if int(entries) > most:
            yield Finding(
                anchor="cache-does-not-fit-its-pod",
                severity=Severity.warning,
                component=service.key,
                subject=f"deployment {place}",
                symptom=f"may cache {int(entries):,} entries, and its memory is enough for {most:,}",
                because=f"{CACHE_ENTRIES_PER_GIB:,} entries take about a GiB: full, the cache ends the pod",
                fix="take the override of cacheCapacity away or raise profile.memory; then "
                f"headroom up --stack {plan.stack}",
                evidence=(
                    f"memory requested {memory / GI:.1f} GiB",
                    *([f"planned {service.cache_capacity.value:,}"] if service.cache_capacity else []),
                ),
            )


def redis_memory(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Redis may hold more than its container leaves it."""
    if plan.redis is None:
        return
    pods = {objects.name(p): p for p in seen.pods if objects.component(p) == "redis"}
    for report in seen.redis:
        pod = pods.get(str(report.get("pod")))
        limits = (objects.specification(pod, "redis").get("resources") or {}).get("limits") or {} if pod else {}
        limit, most = number(limits.get("memory")), Decimal(str(report.get("maxmemory") or 0))
        if limit and most > REDIS_SHARE * limit:
            yield Finding(
                anchor="cache-does-not-fit-its-pod",
                severity=Severity.warning,
                component="redis",
                subject=f"pod {plan.redis.namespace}/{report['pod']}",
                symptom=f"may hold {most / MI:,.0f} Mi in a container of {limit / MI:,.0f} Mi",
                because="what it copies while it saves and feeds replicas needs a quarter of the container on top",
                fix=f"headroom up --stack {plan.stack} (the plan: maxmemory {plan.redis.maxmemory.value}, container "
                f"{plan.redis.container_memory.value})",
            )
