"""Whether alert rules and dashboards go with the stack, and in which form the cluster's monitoring takes them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import AnnotationKey, LabelValue, Url


class MonitoringDemand(Part):
    """`prometheusRule` needs the Prometheus operator; a ConfigMap is for a sidecar that collects it by its label.

    `labels` go onto these objects, such as the `release` that an operator selects rules by.
    """

    alerts: Literal["prometheusRule", "configMap"] | None = None
    dashboards: Literal["configMap"] | None = None
    labels: dict[AnnotationKey, LabelValue] = Field(default_factory=dict)
    runbook_url: Url | None = None
