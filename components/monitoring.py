"""The stack's alert rules, dashboards and scrapes, in the form that the cluster's monitoring takes them."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi

from components.metadata import Identity
from components.objects import KubernetesObject, Manifest, child_options
from components.stateless.presets import preset_of
from headroom.capacity.demand import StackDemand
from headroom.capacity.plan.model import Plan
from monitoring import dashboards, rules
from monitoring.model import RUNBOOK

ALERTS = "headroom-alerts"
RULE_SIDECAR = {"prometheus_rule": "1"}
DASHBOARD_SIDECAR = {"grafana_dashboard": "1"}
"""The labels by which the sidecars of the community's charts find ConfigMaps."""


SCRAPE_INTERVAL = "15s"
"""An autoscaler looks as often."""


@dataclass(frozen=True)
class MonitoringArgs:
    """The demand says what is wanted and holds some thresholds; the plan holds the others."""

    demand: StackDemand
    plan: Plan


class Monitoring(pulumi.ComponentResource):
    """A PrometheusRule or a ConfigMap of the alerts, a ConfigMap for each dashboard, a PodMonitor for each part.

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
        if wanted.scrape is not None:
            for part, spec in pod_monitors(args.plan).items():
                body = {"spec": spec}
                self._object(f"scrape-{part}", "monitoring.coreos.com/v1", "PodMonitor", f"headroom-{part}", {}, body)
        self.register_outputs({})

    def _object(
        self, logical: str, version: str, kind: str, name: str, labels: dict[str, str], body: Manifest
    ) -> KubernetesObject:
        plan = self._args.plan
        owner = Identity(name="monitoring", namespace=plan.namespace, stack=plan.stack, component="monitoring")
        metadata = owner.metadata(name)
        metadata["labels"] |= labels | self._args.demand.monitoring.labels
        return KubernetesObject(f"{self._name}-{logical}", version, kind, metadata, body, self._child)


def pod_monitors(plan: Plan) -> dict[str, Manifest]:
    """`spec` of a PodMonitor by part, for the pods that are annotated: an operator does not look at annotations."""
    name, where = "app.kubernetes.io/name", plan.namespace
    found: dict[str, Manifest] = {}
    for service in plan.services:
        preset = preset_of(service.preset, service.profile)
        if preset.metrics_path is not None:
            endpoint: Manifest = {"port": preset.ports[0].name, "path": preset.metrics_path}
            found[service.key] = _monitor(plan.stack, service.namespace, {name: service.key}, endpoint)
    if plan.postgres is not None:
        # The certificate is each pod's own.
        endpoint = {"port": "patroni", "path": "/metrics", "scheme": "https", "tlsConfig": {"insecureSkipVerify": True}}
        found["postgres"] = _monitor(plan.stack, where, {"app.kubernetes.io/component": "database"}, endpoint)
    for part, there in (("pgbouncer", plan.pgbouncer), ("redis", plan.redis)):
        if there is not None:
            found[part] = _monitor(plan.stack, where, {name: part}, {"port": "metrics", "path": "/metrics"})
    return found


def _monitor(stack: str, namespace: str, labels: dict[str, str], endpoint: Manifest) -> Manifest:
    return {
        "namespaceSelector": {"matchNames": [namespace]},
        "selector": {"matchLabels": {"app.kubernetes.io/instance": stack, **labels}},
        "podMetricsEndpoints": [{"interval": SCRAPE_INTERVAL, **endpoint}],
    }
