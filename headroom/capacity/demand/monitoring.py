"""What of monitoring goes with the stack, and in which form the cluster's monitoring takes it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import AnnotationKey, LabelValue, Url


class MonitoringDemand(Part):
    """`prometheusRule` and `podMonitor` need the Prometheus operator; a ConfigMap is for a sidecar that collects it.

    `labels` go onto these objects, such as the `release` that an operator selects them by.
    """

    alerts: Literal["prometheusRule", "configMap"] | None = None
    dashboards: Literal["configMap"] | None = None
    scrape: Literal["podMonitor"] | None = None
    labels: dict[AnnotationKey, LabelValue] = Field(default_factory=dict)
    runbook_url: Url | None = None
