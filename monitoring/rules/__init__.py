"""The alerts of a stack: what of each component is wrong, with the sizes of its plan as thresholds."""

from __future__ import annotations

from typing import Any

from headroom.capacity.demand import StackDemand
from headroom.capacity.plan.model import Plan
from monitoring.model import RUNBOOK, Group
from monitoring.rules import autoscalers, certificates, h2o, pgbouncer, postgres, redis, services, volumes, workloads


def groups(asked: StackDemand, plan: Plan) -> tuple[Group, ...]:
    """Every group that has an alert, in a stable order. What a stack does not have, it has no alerts for."""
    found = (
        services.group(asked, plan),
        autoscalers.group(plan),
        postgres.group(plan),
        pgbouncer.group(plan),
        redis.group(plan),
        h2o.group(plan),
        workloads.group(plan),
        volumes.group(plan),
        certificates.group(plan),
    )
    return tuple(group for group in found if group.alerts)


def rule_groups(asked: StackDemand, plan: Plan, runbook: str = RUNBOOK) -> list[dict[str, Any]]:
    """`groups` of a Prometheus rule file, or of a PrometheusRule."""
    return [
        {
            "name": f"headroom-{plan.stack}-{group.component}",
            "rules": [alert.rule(group.component, plan.stack, runbook) for alert in group.alerts],
        }
        for group in groups(asked, plan)
    ]
