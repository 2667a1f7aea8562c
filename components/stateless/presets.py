"""What is known of each program that a stateless service can run: ports, probes, environment, and what it talks to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from headroom.capacity.plan.model import Preset as PresetName
from headroom.capacity.plan.model import Profile, ServicePlan

TMP = {"/tmp": "64Mi"}  # noqa: S108


@dataclass(frozen=True)
class Port:
    """A port that the program listens on; the first one of a preset is probed and scraped."""

    name: str
    number: int
    protocol: str
    """`appProtocol` of the Service's port."""
    callers: Literal["stack", "neighbours"] = "stack"
    """Who may come: the pods of the stack's namespaces (and anyone, where the Service is public), or only those of its
    own namespace, whatever the Service is."""


@dataclass(frozen=True)
class Egress:
    """Where the program may connect to: pods of the stack with this `app` label, or (`app` None) anywhere."""

    app: str | None
    ports: tuple[int, ...]


@dataclass(frozen=True)
class Preset:
    """One program. `*_env` name the variables that carry numbers of the plan."""

    component: str
    ports: tuple[Port, ...]
    startup_path: str
    ready_path: str
    live_path: str
    metrics_path: str | None
    threads_env: str | None = None
    queue_env: str | None = None
    cache_env: str | None = None
    connections_env: str | None = None
    drain_env: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    downward_env: Mapping[str, str] = field(default_factory=dict)
    """Variables that take a field of the pod (`metadata.namespace`)."""
    writable: Mapping[str, str] = field(default_factory=lambda: TMP)
    egress: tuple[Egress, ...] = ()
    neighbours: tuple[int, ...] = ()
    """Ports that it may reach on any pod of its own namespace, its own pods included."""
    api_rules: tuple[Mapping[str, Any], ...] = ()
    """What it may do with the Kubernetes API in its namespace. Without rules its pods get no token."""
    requests_counter: str | None = None
    """The counter whose rate stands in for a requests-per-second gauge that the program does not emit."""
    queue_query: str | None = None
    """SQL that counts its waiting work, and the variable with the database's address, for a KEDA postgresql trigger."""
    database_env: str | None = None


_STORES = (Egress("pgbouncer", (6432,)), Egress("redis", (6379, 26379)))

_FASTAPI = Preset(
    component="api",
    ports=(Port("http", 8080, "http"),),
    startup_path="/health/live",
    ready_path="/health/ready",
    live_path="/health/live",
    metrics_path="/metrics",
    threads_env="WORKER_THREADS",
    queue_env="QUEUE_LIMIT",
    connections_env="DATABASE_CONNECTIONS",
    drain_env="DRAIN_S",
    egress=_STORES,
)

_INFERADB_PORTS = (
    Port("http", 8080, "http"),
    Port("grpc", 8081, "kubernetes.io/h2c"),
    Port("mesh", 8082, "kubernetes.io/h2c", callers="neighbours"),
)
_INFERADB_NEIGHBOURS = (8080, 8081, 8082, 4500, 50051)  # itself, FoundationDB, its ledger
_INFERADB_EGRESS = (Egress("redis", (6379,)), Egress(None, (443,)))  # replay protection, the issuers' signing keys

_INFERADB_LEGACY = Preset(
    component="authorization",
    ports=_INFERADB_PORTS,
    startup_path="/health/startup",
    ready_path="/health/ready",
    live_path="/health/live",
    metrics_path="/metrics",
    threads_env="INFERADB__SERVER__WORKER_THREADS",
    cache_env="INFERADB__CACHE__MAX_CAPACITY",
    egress=_INFERADB_EGRESS,
    neighbours=_INFERADB_NEIGHBOURS,
)

_INFERADB_CURRENT = Preset(
    component="authorization",
    ports=_INFERADB_PORTS,
    startup_path="/startupz",
    ready_path="/readyz",
    live_path="/livez",
    metrics_path=None,
    threads_env="INFERADB__ENGINE__THREADS",
    cache_env="INFERADB__ENGINE__CACHE__CAPACITY",
    egress=_INFERADB_EGRESS,
    neighbours=_INFERADB_NEIGHBOURS,
    requests_counter="inferadb_api_requests_total",
)

_MAGE = Preset(
    component="scheduler",
    ports=(Port("http", 6789, "http"),),
    startup_path="/api/status",
    ready_path="/api/status",
    live_path="/api/status",
    metrics_path=None,
    env={"HOME": "/home/src", "MAGE_DATA_DIR": "/home/src/mage_data"},
    downward_env={"KUBE_NAMESPACE": "metadata.namespace"},
    writable={**TMP, "/home/src": "2Gi"},
    # Pipelines read and write wherever their authors point them, over HTTPS or PostgreSQL; 6443 is the Kubernetes API.
    egress=(*_STORES, Egress(None, (443, 5432, 6443))),
    # Its Kubernetes executor runs blocks as Jobs and reads its own pod for their template.
    api_rules=(
        {"apiGroups": ["batch"], "resources": ["jobs", "jobs/status"], "verbs": ["create", "delete", "get", "list"]},
        {"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch"]},
    ),
    # SQLAlchemy stores an enum by its name or its value, by the version of the model; lower() reads both.
    queue_query=(
        "SELECT count(*) FROM block_run AS b JOIN pipeline_run AS p ON p.id = b.pipeline_run_id "
        "WHERE lower(b.status::text) IN ('initial', 'queued') AND lower(p.status::text) = 'running'"
    ),
    database_env="MAGE_DATABASE_CONNECTION_URL",
)


def preset_of(preset: PresetName, profile: Profile) -> Preset:
    """The preset of a service; only inferadb differs by profile."""
    if preset == "inferadb":
        return _INFERADB_CURRENT if profile == "current" else _INFERADB_LEGACY
    return _FASTAPI if preset == "fastapi" else _MAGE


def environment(plan: ServicePlan, preset: Preset, settings: Mapping[str, str]) -> dict[str, str]:
    """What the program is told that is not secret; the stack file's `env` has the last word."""
    sized = {
        preset.threads_env: plan.worker_threads.value if plan.worker_threads else None,
        preset.queue_env: plan.queue_limit.value if plan.queue_limit else None,
        preset.cache_env: plan.cache_capacity.value if plan.cache_capacity else None,
        # A program without a database has no pool to size.
        preset.connections_env: plan.connections_per_pod.value or None,
        preset.drain_env: plan.drain.drain_seconds,
    }
    return {
        **preset.env,
        **settings,
        **{name: str(value) for name, value in sized.items() if name is not None and value is not None},
        **plan.env,
    }
