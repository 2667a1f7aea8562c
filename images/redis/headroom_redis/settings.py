"""What a pod is told: variables from its ConfigMap and its own fields, passwords from files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from headroom_redis import resp

MASTER = "main"
"""The name under which sentinels know the one master."""
USERS = {"app": "redisApp", "admin": "redisAdmin", "monitor": "redisMonitor"}


@dataclass(frozen=True)
class Settings:
    """`mode` is sentinel or cluster. `host` names a pod of the set; the names live as long as the set does.

    `pods`, `masters` and `replicas_per_master` are what a resize Job is to reach; a Cluster's own pods are not told
    them, or growth would restart every one.
    """

    mode: str
    pod: str
    namespace: str
    address: str
    workload: str
    headless: str
    pods: int
    masters: int
    replicas_per_master: int
    sentinels: int
    quorum: int
    maxmemory: int
    policy: str
    min_replicas: int
    data: Path
    run: Path
    secrets: Path

    @property
    def ordinal(self) -> int:
        """The number of this pod in its set."""
        return int(self.pod.rpartition("-")[2])

    def host(self, ordinal: int) -> str:
        """The name of a pod in DNS, which stays the same when its address changes."""
        return f"{self.workload}-{ordinal}.{self.headless}.{self.namespace}.svc"

    @property
    def own_host(self) -> str:
        """This pod's name in DNS."""
        return self.host(self.ordinal)

    @property
    def sentinel_hosts(self) -> list[str]:
        """The pods whose sentinels vote."""
        return [self.host(n) for n in range(self.sentinels)]

    def password(self, user: str) -> str:
        """A user's password. Read anew each time: the file follows the Secret."""
        return (self.secrets / USERS[user]).read_text(encoding="utf-8").strip()

    def admin(
        self, host: str, port: int = resp.PORT, seconds: float = resp.SECONDS
    ) -> AbstractContextManager[resp.Connection]:
        """A connection as administrator."""
        return resp.connect(host, port, "admin", self.password("admin"), seconds)


def ordinal_of(host: str) -> int | None:
    """The number in a pod's DNS name, None for a name that is none."""
    number = host.partition(".")[0].rpartition("-")[2]
    return int(number) if number.isdigit() else None


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of this pod. Raises KeyError naming the variable that is missing."""
    given = os.environ if environment is None else environment
    return Settings(
        mode=given["REDIS_MODE"],
        pod=given["POD_NAME"],
        namespace=given["POD_NAMESPACE"],
        address=given.get("POD_IP", ""),
        workload=given.get("REDIS_WORKLOAD", "redis"),
        headless=given.get("REDIS_HEADLESS", "redis-headless"),
        pods=int(given.get("REDIS_PODS", "0")),
        masters=int(given.get("REDIS_MASTERS", "0")),
        replicas_per_master=int(given.get("REDIS_REPLICAS_PER_MASTER", "0")),
        sentinels=int(given.get("REDIS_SENTINELS", "0")),
        quorum=int(given.get("REDIS_QUORUM", "0")),
        maxmemory=int(given.get("REDIS_MAXMEMORY", "0")),
        policy=given.get("REDIS_MAXMEMORY_POLICY", "noeviction"),
        min_replicas=int(given.get("REDIS_MIN_REPLICAS", "0")),
        data=Path(given.get("REDIS_DATA", "/data")),
        run=Path(given.get("REDIS_RUN", "/run/redis")),
        secrets=Path(given.get("REDIS_SECRETS", "/etc/redis-auth")),
    )
