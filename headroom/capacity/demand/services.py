"""What a stateless service is asked to carry, what one pod of it was measured to do, and how it is run."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from pydantic import Field, model_validator

from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import (
    AnnotationKey,
    AnnotationValue,
    Count,
    Cpu,
    Cron,
    Duration,
    EnvName,
    EnvValue,
    Flag,
    Growth,
    Image,
    Margin,
    Memory,
    Namespace,
    ObjectName,
    Pause,
    Percent,
    Positive,
    Rate,
    RateOrZero,
    Reason,
    Replicas,
    Stabilization,
    Threads,
    TimeZone,
    Url,
    Variation,
    Weight,
)
from headroom.capacity.demand.overrides import Emergency, ServiceOverrides
from headroom.capacity.demand.problem import Problem

JOBS = ("jobsPerHour", "meanDuration", "concurrency")
REQUESTS = ("targetRps", "baselineRps", "latency")
# Set from the plan: a value in `env` would quietly win over it.
PLANNED_ENV = {
    "WORKER_THREADS": "profile.workerThreads",
    "QUEUE_LIMIT": "override.queueLimit",
    "DATABASE_CONNECTIONS": "connectionsPerPod",
    "DRAIN_S": "drain.timeout",
    "INFERADB__SERVER__WORKER_THREADS": "profile.workerThreads",
    "INFERADB__ENGINE__THREADS": "profile.workerThreads",
    "INFERADB__CACHE__MAX_CAPACITY": "override.cacheCapacity",
    "INFERADB__ENGINE__CACHE__CAPACITY": "override.cacheCapacity",
}
# What components/ sets so that a password is proved and never sent: a service could otherwise take it back.
GUARDING_ENV = frozenset({"PGREQUIREAUTH"})


class Latency(Part):
    """The latency that clients are promised."""

    p99: Duration


class Load(Part):
    """Requests (`targetRps`, `baselineRps`, `latency`); or `jobsPerHour`, `meanDuration`, `concurrency`."""

    target_rps: Rate | None = None
    baseline_rps: RateOrZero | None = None
    latency: Latency | None = None
    jobs_per_hour: Rate | None = None
    mean_duration: Duration | None = None
    concurrency: Positive | None = None
    growth: Growth | None = None


class Measured(Part):
    """What one pod does. `serviceTime` is seconds of a thread a request, `cpuTime` CPU seconds a request."""

    rps_per_pod: Rate | None = None
    service_time: Duration | None = None
    service_time_cv: Variation | None = None
    cpu_time: Duration | None = None
    worker_threads: Threads | None = None
    cpu: Cpu | None = None
    memory: Memory | None = None


class Limits(Part):
    """Ceilings of one container; twice the requests where they are silent."""

    cpu: Cpu | None = None
    memory: Memory | None = None


class Window(Part):
    """A higher floor of replicas between two moments of the week."""

    start: Cron
    end: Cron
    min_replicas: Replicas
    timezone: TimeZone = "UTC"


class Autoscaling(Part):
    """What the autoscaler looks at."""

    metrics: Literal["resource", "custom", "keda"] | None = None
    cpu_utilization: Percent | None = None
    memory_utilization: Percent | None = None
    request_queue_depth: Positive | None = None
    requests_per_second: Positive | None = None
    metric_exists: Flag = False
    prometheus_address: Url | None = None
    scale_up_window: Stabilization | None = None
    scale_down_window: Stabilization | None = None
    schedule: tuple[Window, ...] = ()


class Canary(Part):
    """A second image that takes a share of the pods."""

    image: Image
    weight: Weight


class LoadBalancer(Part):
    """What the balancer in front can pass."""

    max_rps: Rate | None = None


class Exposure(Part):
    """How the Service is reached; a public one needs a reason."""

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = "ClusterIP"
    annotations: dict[AnnotationKey, AnnotationValue] = Field(default_factory=dict)
    because: Reason | None = None
    load_balancer: LoadBalancer | None = None

    @model_validator(mode="after")
    def _public_needs_reason(self) -> Exposure:
        if self.type != "ClusterIP" and self.because is None:
            raise Problem(
                f"a Service of type {self.type} can be reached from outside and needs a reason",
                fix='add because: "…", or use type: ClusterIP',
                at=("because",),
            )
        return self


class Drain(Part):
    """A pod's way out: the preStop sleep, then the time for what is in flight, within the grace period."""

    pre_stop: Pause | None = None
    timeout: Pause | None = None
    grace_period: Pause | None = None


class ServiceDemand(Part):
    """One stateless service; its key in `headroom:services` names its Deployment and Service."""

    preset: Literal["fastapi", "inferadb", "mage"]
    preset_profile: Literal["legacy", "current"] = "legacy"
    image: Image | None = None
    namespace: Namespace | None = None
    demand: Load | None = None
    profile: Measured | None = None
    tier: Literal["light", "medium", "heavy"] | None = None
    safety_margin: Margin | None = None
    min_available: Count | None = None
    connections_per_pod: Count | None = None
    limits: Limits | None = None
    autoscaling: Autoscaling = Autoscaling()
    canary: Canary | None = None
    maintenance: Flag = False
    emergency_replicas: Emergency | None = None
    override: ServiceOverrides = Field(default_factory=dict)
    service: Exposure = Exposure()
    drain: Drain | None = None
    env: dict[EnvName, EnvValue] = Field(default_factory=dict)
    existing_secret: ObjectName | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> ServiceDemand:
        self._check_demand()
        self._check_tier()
        self._check_autoscaling()
        self._check_override()
        for name in self.env:
            if name in GUARDING_ENV:
                raise Problem(
                    "keeps the service from sending its password to whoever asks, and stays as it is",
                    fix="remove it",
                    at=("env", name),
                    show=False,
                )
            if name in PLANNED_ENV:
                raise Problem(
                    "is set from the plan", fix=f"use {PLANNED_ENV[name]} instead", at=("env", name), show=False
                )
        return self

    @property
    def measured(self) -> Measured:
        """The profile, empty where none is given."""
        return self.profile or Measured()

    @property
    def metrics(self) -> Literal["resource", "custom", "keda"]:
        """Where the autoscaler's metrics come from: as given, else the preset's."""
        return self.autoscaling.metrics or ("resource" if self.preset == "mage" else "custom")

    def _check_demand(self) -> None:
        load = self.demand
        if load is None:
            return
        given = {(load.__class__.model_fields[n].alias or n) for n in load.model_fields_set}
        wrong = [k for k in (REQUESTS if self.preset == "mage" else JOBS) if k in given]
        if wrong:
            takes = ", ".join(JOBS if self.preset == "mage" else REQUESTS)
            raise Problem(f"is no demand of preset {self.preset}", fix=f"it takes {takes}", at=("demand", wrong[0]))
        needed = JOBS if self.preset == "mage" else ("targetRps",)
        for key in needed:
            if key not in given:
                raise Problem(
                    "is required where a demand is given",
                    fix=f"add {key}, or take demand away for the preset's bounds",
                    at=("demand", key),
                )
        if self.preset == "mage":
            return
        if load.baseline_rps is not None and load.target_rps is not None and load.baseline_rps > load.target_rps:
            raise Problem(
                f"is {load.baseline_rps}: must not be above targetRps ({load.target_rps})",
                fix="lower baselineRps or raise targetRps",
                at=("demand", "baselineRps"),
            )
        if self.measured.rps_per_pod is None and self.tier is None:
            raise Problem(
                "is required to turn targetRps into pods",
                fix="measure it with `headroom load`, or name a tier: light, medium or heavy",
                at=("profile", "rpsPerPod"),
            )
        if load.latency is not None and self.measured.service_time is None:
            raise Problem(
                "is required to check a latency", fix="measure it with `headroom load`", at=("profile", "serviceTime")
            )

    def _check_tier(self) -> None:
        if self.tier is not None and self.profile is not None:
            raise Problem("a tier stands in for a profile; both are given", fix="remove one of them", at=("tier",))
        if self.tier is not None and self.preset == "mage":
            raise Problem(
                "tiers are requests a second, and Mage runs jobs", fix="give demand and profile", at=("tier",)
            )
        if self.preset != "inferadb" and "preset_profile" in self.model_fields_set:
            raise Problem("only preset inferadb has profiles", fix="remove it", at=("presetProfile",))

    def _check_autoscaling(self) -> None:
        scaling = self.autoscaling
        at = ("autoscaling",)
        if self.preset == "mage" and self.metrics == "custom":
            raise Problem(
                "Mage emits no Pods metric",
                fix="use resource, or keda (its queue, asked in its database)",
                at=(*at, "metrics"),
            )
        if (
            self.preset == "inferadb"
            and self.preset_profile == "current"
            and self.metrics == "custom"
            and not scaling.metric_exists
        ):
            raise Problem(
                "InferaDB at presetProfile current emits no inferadb_requests_per_second",
                fix="use metrics: resource or keda, or say metricExists: true if something else emits it",
                at=(*at, "metrics"),
            )
        if self.preset != "fastapi" and scaling.request_queue_depth is not None:
            raise Problem("only preset fastapi scales on its queue", fix="remove it", at=(*at, "requestQueueDepth"))
        if self.preset != "inferadb" and scaling.requests_per_second is not None:
            raise Problem("only preset inferadb scales on this", fix="remove it", at=(*at, "requestsPerSecond"))
        if self.metrics == "keda" and self.preset != "mage" and scaling.prometheus_address is None:
            raise Problem(
                "is required with metrics: keda, whose trigger asks Prometheus",
                fix="for example http://prometheus.monitoring:9090",
                at=(*at, "prometheusAddress"),
            )
        if scaling.schedule and self.metrics != "keda":
            raise Problem("only KEDA knows schedules", fix="use metrics: keda", at=(*at, "schedule"))

    def _check_override(self) -> None:
        only = {"cacheCapacity": "inferadb", "queueLimit": "fastapi"}
        for setting, preset in only.items():
            if setting in self.override and self.preset != preset:
                raise Problem(f"preset {self.preset} has no such setting", fix="remove it", at=("override", setting))
        if self.preset == "mage" and "workerThreads" in self.override:
            raise Problem("preset mage has no such setting", fix="remove it", at=("override", "workerThreads"))

    def weight(self) -> Decimal:
        """The canary's share of the pods; 0 where there is none."""
        return self.canary.weight if self.canary else Decimal(0)
