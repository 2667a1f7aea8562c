"""What was seen of a stack at one moment: everything that the rules look at, and nothing that they could ask again.

Kubernetes objects are kept as the API gives them (kubectl JSON); what was asked elsewhere is typed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from headroom.kubectl import Manifest
from headroom.ops import reshard


@dataclass(frozen=True)
class ContainerId:
    """A container of a pod."""

    namespace: str
    pod: str
    container: str


@dataclass(frozen=True)
class Usage:
    """What a container uses now, by the metrics API: cores and bytes."""

    cpu: float
    memory: float


@dataclass(frozen=True)
class VolumeUse:
    """How full a claim's file system is, by the kubelet: bytes."""

    namespace: str
    claim: str
    pod: str
    used: int
    available: int

    @property
    def share(self) -> float:
        """As `df` has it: reserved blocks are nobody's."""
        total = self.used + self.available
        return self.used / total if total else 1.0


@dataclass(frozen=True)
class PodTraffic:
    """Requests that a pod answered, probes and scrapes left out: a second, and 5xx of them a second."""

    pod: str
    rate: float
    errors: float


@dataclass(frozen=True)
class Traffic:
    """A service's requests over `seconds`; `p99` in seconds over all pods, None where there were too few.

    `promised` is the p99 that the stack file promises, seconds; `target` the requests a second that it asks for.
    """

    service: str
    seconds: float
    pods: tuple[PodTraffic, ...]
    p99: float | None
    promised: float | None = None
    target: float | None = None

    @property
    def rate(self) -> float:
        """Requests a second of all pods."""
        return sum(p.rate for p in self.pods)

    @property
    def errors(self) -> float:
        """5xx a second of all pods."""
        return sum(p.errors for p in self.pods)


@dataclass(frozen=True)
class Standby:
    """A row of `pg_stat_replication`: `behind` is bytes of WAL that it has not replayed."""

    pod: str
    state: str
    sync: str
    behind: int


@dataclass(frozen=True)
class PostgresNode:
    """What a PostgreSQL pod says of itself. `paused`: replay was stopped by hand."""

    shard: int
    pod: str
    primary: bool
    paused: bool
    connections: int
    max_connections: int
    standbys: tuple[Standby, ...] = ()


@dataclass(frozen=True)
class PoolerNode:
    """What a PgBouncer says: its clients and their limit; those that wait for a server, and how long the first has."""

    pod: str
    clients: int
    max_client_conn: int
    waiting: int
    longest_wait_seconds: float


@dataclass(frozen=True)
class ProbeFailure:
    """Something that was asked and gave no answer in its time: what, of which component, and its words."""

    component: str
    subject: str
    words: str


@dataclass(frozen=True)
class Unseen:
    """What could not be looked at here, and why; neither a symptom nor its absence."""

    what: str
    why: str


@dataclass(frozen=True)
class Snapshot:
    """A stack at one moment. Kinds of which there is nothing are empty."""

    at: datetime
    nodes: tuple[Manifest, ...] = ()
    pods: tuple[Manifest, ...] = ()
    events: tuple[Manifest, ...] = ()
    deployments: tuple[Manifest, ...] = ()
    stateful_sets: tuple[Manifest, ...] = ()
    autoscalers: tuple[Manifest, ...] = ()
    scaled_objects: tuple[Manifest, ...] = ()
    services: tuple[Manifest, ...] = ()
    endpoint_slices: tuple[Manifest, ...] = ()
    claims: tuple[Manifest, ...] = ()
    storage_classes: tuple[Manifest, ...] = ()
    quotas: tuple[Manifest, ...] = ()
    config_maps: tuple[Manifest, ...] = ()
    jobs: tuple[Manifest, ...] = ()
    namespaces: tuple[str, ...] = ()
    apis: Mapping[str, str] = field(default_factory=dict)
    """Aggregated API groups that are registered: empty text where they answer, else why they do not."""
    real_pods: bool = True
    usage: Mapping[ContainerId, Usage] = field(default_factory=dict)
    last_words: Mapping[ContainerId, tuple[str, ...]] = field(default_factory=dict)
    """Of containers that ended: the end of the log of the one before, without the secrets that can be recognised."""
    volumes: tuple[VolumeUse, ...] = ()
    traffic: Mapping[str, Traffic] = field(default_factory=dict)
    postgres: tuple[PostgresNode, ...] = ()
    moves: tuple[reshard.State, ...] = ()
    """Shard 0's map and journal; nothing where it has no primary."""
    shards: tuple[reshard.Shard, ...] = ()
    """What each shard's primary says of its buckets."""
    poolers: tuple[PoolerNode, ...] = ()
    redis: tuple[Mapping[str, Any], ...] = ()
    """`redis-node report` of each pod that answers."""
    h2o: tuple[Mapping[str, Any], ...] = ()
    """`/state` of each guard that answers."""
    failures: tuple[ProbeFailure, ...] = ()
    unseen: tuple[Unseen, ...] = ()
