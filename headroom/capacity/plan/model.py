"""The plan: every size that a stack needs, each with the formula that made it and the constraint that bound it.

Frozen and plain, so that components, reports and tests can read it without knowing how it was computed.
Times are seconds, rates per second, quantities Kubernetes strings (`2Gi`, `500m`) unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, Literal, TypeVar

T_co = TypeVar("T_co", covariant=True)

Environment = Literal["local", "dev", "staging", "prod"]
Preset = Literal["fastapi", "inferadb", "mage"]
Profile = Literal["legacy", "current"]
MetricsSource = Literal["resource", "custom", "keda"]


@dataclass(frozen=True)
class Sized(Generic[T_co]):
    """One computed setting.

    `because` is the formula with its figures filled in; `bound_by` names the constraint that won
    (for example "throughput", "latency", "availability", "override", "default", "tier").
    """

    setting: str
    value: T_co
    unit: str
    because: str
    bound_by: str


@dataclass(frozen=True)
class Caution:
    """Something a person should know about a plan that nevertheless works."""

    component: str
    message: str


@dataclass(frozen=True)
class Resources:
    """What one container asks for and may use; settings `cpuRequest`, `cpuLimit`, `memoryRequest`, `memoryLimit`."""

    cpu_request: Sized[str]
    cpu_limit: Sized[str]
    memory_request: Sized[str]
    memory_limit: Sized[str]


Sidecars = Mapping[str, Resources]
"""What the helper containers of a pod ask for, by the container's name."""


@dataclass(frozen=True)
class PodsMetric:
    """A Pods metric that an autoscaler holds at an average; a Prometheus query of the same for KEDA."""

    name: str
    average: Sized[int]


@dataclass(frozen=True)
class ScheduleWindow:
    """A floor of replicas between two cron instants (5-field cron, `timezone` an IANA name)."""

    start: str
    end: str
    min_replicas: int
    timezone: str


@dataclass(frozen=True)
class ScalingPolicy:
    """How fast an autoscaler may move in one direction: `percent` of the pods each `period_seconds`."""

    window_seconds: int
    percent: int
    period_seconds: int


@dataclass(frozen=True)
class AutoscalingPlan:
    """Settings of the one autoscaler that owns a Deployment's replicas.

    `source` keda makes a ScaledObject, anything else an HPA. `memory_utilization` (percent) is optional.
    `pods_metric` is None with `resource`. For preset mage with `keda` it is what its database's queue is held at a
    scheduler; otherwise `prometheus_address` is whom a KEDA trigger asks.
    """

    source: MetricsSource
    min_replicas: Sized[int]
    max_replicas: Sized[int]
    cpu_utilization: Sized[int] | None
    memory_utilization: int | None
    pods_metric: PodsMetric | None
    scale_up: ScalingPolicy
    scale_down: ScalingPolicy
    schedule: tuple[ScheduleWindow, ...]
    prometheus_address: str | None


@dataclass(frozen=True)
class DrainPlan:
    """A pod's way out, seconds: preStop sleep, then draining, inside the grace period."""

    pre_stop_seconds: int
    drain_seconds: int
    grace_period_seconds: Sized[int]


@dataclass(frozen=True)
class CanaryPlan:
    """A second Deployment behind the same Service; `replicas` = max(1, round(weight x replicas))."""

    image: str
    weight: Decimal
    replicas: Sized[int]


@dataclass(frozen=True)
class ServiceExposure:
    """How a Service is reached. A public type needs `because` (the policy pack asks for it)."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"]
    annotations: Mapping[str, str]
    because: str | None
    max_rps: Decimal | None


@dataclass(frozen=True)
class ServicePlan:
    """One stateless service. `key` names its Deployment and Service; `<key>-hpa` its autoscaler."""

    key: str
    preset: Preset
    profile: Profile
    namespace: str
    image: str
    env: Mapping[str, str]
    resources: Resources
    min_replicas: Sized[int]
    max_replicas: Sized[int]
    replicas_at_target: Sized[int]
    predicted_p99_ms: Sized[float] | None
    autoscaling: AutoscalingPlan
    min_available: Sized[int] | None
    """The disruption budget; None where `minReplicas` is not above it."""
    worker_threads: Sized[int] | None
    queue_limit: Sized[int] | None
    """Requests that may wait in a pod before it answers 503; None where the preset has no such setting."""
    cache_capacity: Sized[int] | None
    connections_per_pod: Sized[int]
    surge_pods: Sized[int]
    """Pods that a rolling update adds at `maxReplicas` (maxSurge 25 %, rounded up)."""
    drain: DrainPlan
    canary: CanaryPlan | None
    maintenance: bool
    exposure: ServiceExposure
    existing_secret: str | None = None
    """A Secret of the user's whose keys become environment variables."""


@dataclass(frozen=True)
class NamespacePlan:
    """A namespace, its quota (maxima or emergency, plus surge, canary and Jobs) and its default container limits."""

    name: str
    pods: Sized[int]
    cpu_requests: Sized[str]
    memory_requests: Sized[str]
    cpu_limits: Sized[str]
    memory_limits: Sized[str]
    default_cpu_request: Sized[str]
    default_memory_request: Sized[str]
    default_cpu_limit: Sized[str]
    default_memory_limit: Sized[str]
    max_container_cpu: Sized[str]
    max_container_memory: Sized[str]


@dataclass(frozen=True)
class PostgresPlan:
    """Sharded PostgreSQL. `parameters` are PostgreSQL settings by name (`shared_buffers`, `work_mem`, …);
    `shared_memory` is the size of `/dev/shm`, which counts as the container's memory."""

    namespace: str
    image: str
    shards: Sized[int]
    nodes: Sized[int]
    replication_factor: Sized[int]
    volume_size: Sized[str]
    resources: Resources
    parameters: Mapping[str, Sized[int] | Sized[str]]
    shared_memory: Sized[str]
    max_connections: Sized[int]
    min_available: Sized[int] | None
    buckets: Sized[int]
    max_parallel_moves: Sized[int]
    """Buckets that move to another shard at once."""
    move_bytes_per_second: Sized[int]
    """Of all their copies together; 0 is no bound."""
    storage_class: str | None
    existing_secret: str | None
    api_servers: tuple[str, ...] = ()
    """Networks (CIDR) of the API server; empty where they are not known."""
    sidecars: Sidecars = field(default_factory=dict)


@dataclass(frozen=True)
class PgBouncerPlan:
    """PgBouncer: replicas and its own settings by name (`default_pool_size`, …)."""

    namespace: str
    image: str
    replicas: Sized[int]
    max_client_conn: Sized[int]
    default_pool_size: Sized[int]
    reserve_pool_size: Sized[int]
    max_db_connections: Sized[int]
    resources: Resources
    min_available: Sized[int] | None
    existing_secret: str | None
    sidecars: Sidecars = field(default_factory=dict)


@dataclass(frozen=True)
class RedisPlan:
    """Redis in Sentinel mode (masters 1) or Cluster mode."""

    namespace: str
    image: str
    mode: Literal["sentinel", "cluster"]
    masters: Sized[int]
    replicas_per_master: Sized[int]
    sentinels: Sized[int] | None
    quorum: Sized[int] | None
    maxmemory: Sized[str]
    maxmemory_policy: Sized[str]
    container_memory: Sized[str]
    resources: Resources
    volume_size: Sized[str]
    min_available: Sized[int] | None
    storage_class: str | None
    existing_secret: str | None
    api_servers: tuple[str, ...] = ()
    """Networks (CIDR) of the API server; empty where they are not known."""
    durable: bool = False
    sidecars: Sidecars = field(default_factory=dict)


@dataclass(frozen=True)
class H2OPlan:
    """The H2O cluster; requests equal limits. `storage_class` is the export volume's; `export_s3` stands in for it."""

    namespace: str
    image: str
    nodes: Sized[int]
    heap: Sized[str]
    native_memory: Sized[str]
    container_memory: Sized[str]
    resources: Resources
    export_volume_size: Sized[str]
    scratch_size: Sized[str]
    """What a node may write to its own disk."""
    discovery: Literal["dns", "flatfile"]
    xgboost: bool
    storage_class: str | None
    existing_secret: str | None
    api_servers: tuple[str, ...] = ()
    """Networks (CIDR) of the API server; empty where they are not known."""
    export_s3: str | None = None
    sidecars: Sidecars = field(default_factory=dict)


@dataclass(frozen=True)
class ImagesPlan:
    """How pods get their images: a pull policy and the names of pull secrets."""

    pull_policy: Literal["IfNotPresent", "Always", "Never"]
    pull_secrets: tuple[str, ...]


@dataclass(frozen=True)
class Line:
    """One row of `headroom plan --format json`."""

    component: str
    setting: str
    value: int | float | str
    unit: str
    because: str
    bound_by: str


@dataclass(frozen=True)
class Plan:
    """The whole plan of one stack.

    `lines` is everything above it as rows, in a stable order, but for the quotas, which follow from the rest. `job` is
    what one container of a Job (bootstrap, drain, fill) asks for; the quotas have room for them.
    """

    stack: str
    environment: Environment
    namespace: str
    images: ImagesPlan
    namespaces: tuple[NamespacePlan, ...]
    services: tuple[ServicePlan, ...]
    postgres: PostgresPlan | None
    pgbouncer: PgBouncerPlan | None
    redis: RedisPlan | None
    h2o: H2OPlan | None
    monthly_cost_at_min: Sized[Decimal]
    monthly_cost_at_max: Sized[Decimal]
    lines: tuple[Line, ...]
    warnings: tuple[Caution, ...]
    job: Resources
