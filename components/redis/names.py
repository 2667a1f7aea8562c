"""The names and ports that the parts of Redis know each other by."""

from __future__ import annotations

from components.metadata import Identity
from headroom.capacity.plan.model import RedisPlan

NAME = "redis"
HEADLESS = "redis-headless"
RESIZE = "redis-resize"
AUTH = "redis-auth"
MASTER = "main"
"""The name under which sentinels know the one master."""
ROLE = "headroom.dev/role"
PORT, SENTINEL_PORT, BUS_PORT, METRICS_PORT = 6379, 26379, 16379, 9121
ASKED = 3
"""How many pods a client's address names; from any of them it learns of the others."""


def pod_count(plan: RedisPlan) -> int:
    """Masters and replicas."""
    return plan.masters.value * (1 + plan.replicas_per_master.value)


def hosts(plan: RedisPlan, owner: Identity) -> list[str]:
    """The pods whom a client asks first, by name."""
    count = plan.sentinels.value if plan.sentinels else min(ASKED, pod_count(plan))
    return [f"{NAME}-{n}.{HEADLESS}.{owner.namespace}.svc" for n in range(count)]
