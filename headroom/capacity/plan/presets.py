"""What each preset and tier brings of its own: sizes, bounds, metrics, images."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from headroom.capacity.demand.services import ServiceDemand
from headroom.capacity.plan.model import Preset, ScalingPolicy
from headroom.capacity.quantities import GI, MI


@dataclass(frozen=True)
class PresetDefaults:
    """A preset where the stack file is silent. `metric` is the Pods metric and the setting that holds its average."""

    cpu: Decimal
    memory: int
    connections: int
    replicas: tuple[int, int]
    replicas_on_resources: tuple[int, int]
    drain_seconds: int
    image: str
    image_is_ours: bool
    metric: tuple[str, str, int] | None


PRESETS: dict[Preset, PresetDefaults] = {
    "fastapi": PresetDefaults(
        cpu=Decimal(1),
        memory=2 * GI,
        connections=4,
        replicas=(3, 20),
        replicas_on_resources=(3, 20),
        drain_seconds=60,
        image="localhost/headroom/inference:0.1.0",
        image_is_ours=True,
        metric=("request_queue_depth", "requestQueueDepth", 10),
    ),
    "inferadb": PresetDefaults(
        cpu=Decimal(2),
        memory=4 * GI,
        connections=0,
        replicas=(5, 50),
        replicas_on_resources=(3, 20),
        drain_seconds=60,
        image="ghcr.io/inferadb/engine:0.1.0",
        image_is_ours=False,
        metric=("inferadb_requests_per_second", "requestsPerSecond", 1000),
    ),
    "mage": PresetDefaults(
        cpu=Decimal(1),
        memory=2 * GI,
        connections=2,
        replicas=(1, 5),
        replicas_on_resources=(1, 5),
        # A scale-down kills the blocks that a scheduler runs: 10 s preStop + 580 s + 10 s is a grace of 600 s.
        drain_seconds=580,
        image="mageai/mageai:0.9.76",
        image_is_ours=False,
        metric=("mage_queued_blocks", "queuedBlocks", 20),
    ),
}


@dataclass(frozen=True)
class Tier:
    """Requests a second of one pod, its size, and the bounds of the replicas."""

    rps_per_pod: Decimal
    cpu: Decimal
    memory: int
    replicas: tuple[int, int]


TIERS = {
    "light": Tier(Decimal(1000), Decimal("0.5"), 512 * MI, (3, 10)),
    "medium": Tier(Decimal(5000), Decimal(1), 2 * GI, (5, 20)),
    "heavy": Tier(Decimal(10000), Decimal(2), 4 * GI, (10, 50)),
}

SCALE_DOWN = ScalingPolicy(window_seconds=300, percent=50, period_seconds=60)
SCALE_UP = ScalingPolicy(window_seconds=60, percent=100, period_seconds=30)
CPU_UTILIZATION = 70
SAFETY_MARGIN = Decimal("1.5")
PRE_STOP_SECONDS = 10
GRACE_SPARE_SECONDS = 10
CACHE_ENTRIES_PER_GIB = 500_000
SURGE_PERCENT = 25


def bounds(service: ServiceDemand) -> tuple[int, int, str]:
    """Least and most replicas of a service without a demand, and where they come from."""
    if service.tier is not None:
        return *TIERS[service.tier].replicas, f"tier {service.tier}"
    preset = PRESETS[service.preset]
    replicas = preset.replicas_on_resources if service.metrics == "resource" else preset.replicas
    return *replicas, f"preset {service.preset} with {service.metrics} metrics"
