"""Which add-ons there are, and in which order they go onto a cluster."""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

from headroom.errors import InputError
from headroom.local.addons import custom_metrics, keda, prometheus
from headroom.local.model import Cluster
from headroom.progress import Progress, Silent


class Addon(StrEnum):
    """`keda` and `custom-metrics` ask Prometheus, so they bring `monitoring`."""

    monitoring = "monitoring"
    keda = "keda"
    custom_metrics = "custom-metrics"


def install(cluster: Cluster, wanted: Collection[Addon], progress: Progress | None = None) -> None:
    """Put add-ons on a running cluster, any number of times; each is ready when this returns.

    Builds what is missing, which takes minutes once. Raises InputError on fake nodes, EnvironmentFailure for what the
    machine refuses.
    """
    progress = progress or Silent()
    if not wanted:
        return
    if cluster.nodes == "fake":
        raise InputError(
            f"the nodes of cluster {cluster.name} are fake: {', '.join(sorted(wanted))} would not run on them",
            fix="use real nodes (Linux, as root): headroom local down, then headroom local up --nodes real",
        )
    prometheus.install(cluster, progress)
    if Addon.keda in wanted:
        keda.install(cluster, progress)
    if Addon.custom_metrics in wanted:
        custom_metrics.install(cluster, progress)
