"""The claims of the stateful parts: full, or full within four days."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from monitoring.model import Alert, Group, series


def group(plan: Plan) -> Group:
    parts = (plan.postgres, plan.redis, plan.h2o)
    rooms = sorted({part.namespace for part in parts if part is not None})
    return Group("volumes", tuple(alert for room in rooms for alert in _of(room)))


def _of(namespace: str) -> Iterator[Alert]:
    labels = (("namespace", namespace),)

    def of(name: str) -> str:
        return series(f"kubelet_volume_stats_{name}", namespace=namespace)

    free = f"{of('available_bytes')} / {of('capacity_bytes')}"
    claim = "{{ $labels.persistentvolumeclaim }}"
    yield Alert(
        "VolumeNearlyFull",
        f"{free} < 0.1",
        5,
        "critical",
        f"{claim} is nearly full",
        "{{ $value | humanizePercentage }} of it are free.",
        labels,
    )
    yield Alert(
        "VolumeFillsUp",
        f"{free} < 0.4 and predict_linear({of('available_bytes')}[6h], 4 * 86400) < 0",
        60,
        "warning",
        f"{claim} will be full within four days",
        "{{ $value | humanizePercentage }} of it are free, and it grows.",
        labels,
    )
    yield Alert(
        "VolumeInodesNearlyGone",
        f"{of('inodes_free')} / {of('inodes')} < 0.1",
        5,
        "warning",
        f"{claim} can hold few more files",
        "{{ $value | humanizePercentage }} of its inodes are free.",
        labels,
    )
