"""The stack's alert rules and dashboards, in the form that the cluster's monitoring takes them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from components.metadata import Identity
from components.objects import KubernetesObject, Manifest, child_options
from headroom.capacity.demand import StackDemand
from headroom.capacity.plan.model import Plan
from monitoring import dashboards, rules
from monitoring.model import RUNBOOK

ALERTS = "headroom-alerts"
RULE_SIDECAR = {"prometheus_rule": "1"}
DASHBOARD_SIDECAR = {"grafana_dashboard": "1"}
"""The labels by which the sidecars of the community's charts find ConfigMaps."""


@dataclass(frozen=True)
class MonitoringArgs:
    """The demand says what is wanted and holds some thresholds; the plan holds the others."""

    demand: StackDemand
    plan: Plan


class Monitoring(pulumi.ComponentResource):
    """A PrometheusRule or a ConfigMap of the alerts; a ConfigMap for each dashboard of a part that the stack has.

    What the stack file names is made, whatever the cluster has: a preview does not depend on where it is asked for.
    """

    def __init__(self, name: str, args: MonitoringArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("headroom:components:Monitoring", name, None, opts)
        self._name, self._args = name, args
        self._child = child_options(self, opts)
        wanted = args.demand.monitoring
        if wanted.alerts is not None:
            groups = rules.rule_groups(args.demand, args.plan, wanted.runbook_url or RUNBOOK)
            if wanted.alerts == "prometheusRule":
                body: Manifest = {"spec": {"groups": groups}}
                self._object("alerts", "monitoring.coreos.com/v1", "PrometheusRule", ALERTS, {}, body)
            else:
                # JSON is YAML.
                data = {f"headroom-{args.plan.stack}.yaml": json.dumps({"groups": groups}, indent=1)}
                self._object("alerts", "v1", "ConfigMap", ALERTS, RULE_SIDECAR, {"data": data})
        if wanted.dashboards is not None:
            for part in dashboards.of(args.plan):
                body = {"data": {f"headroom-{part}.json": dashboards.text(part)}}
                self._object(f"dashboard-{part}", "v1", "ConfigMap", f"headroom-{part}", DASHBOARD_SIDECAR, body)
        self.register_outputs({})

    def _object(
        self, logical: str, version: str, kind: str, name: str, labels: dict[str, str], body: Manifest
    ) -> KubernetesObject:
        plan = self._args.plan
        owner = Identity(name="monitoring", namespace=plan.namespace, stack=plan.stack, component="monitoring")
        metadata = owner.metadata(name)
        metadata["labels"] |= labels | self._args.demand.monitoring.labels
        return KubernetesObject(f"{self._name}-{logical}", version, kind, metadata, body, self._child)
