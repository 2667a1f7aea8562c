"""What `headroom verify` says of an autoscaler that has no metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headroom.capacity import plan as plans
from headroom.capacity.demand import load
from headroom.ops.verify import services
from headroom.ops.verify.model import Verdict

SERVICE = plans.make(load("local", Path("Pulumi.local.yaml"))).services[0]


def hpa(status: str, reason: str, seconds: float) -> dict[str, Any]:
    since = (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    condition = {
        "type": "ScalingActive",
        "status": status,
        "reason": reason,
        "message": "m",
        "lastTransitionTime": since,
    }
    return {"metadata": {"name": "x-hpa"}, "status": {"conditions": [condition]}}


@pytest.mark.parametrize(
    ("status", "reason", "seconds", "verdict"),
    [
        ("True", "ValidMetricFound", 5, Verdict.passed),
        ("False", "FailedGetResourceMetric", 20, Verdict.warned),
        ("False", "FailedGetResourceMetric", 200, Verdict.failed),
        ("False", "InvalidSelector", 5, Verdict.failed),
    ],
)
def test_new_pods_may_be_without_metrics_for_a_while(
    status: str, reason: str, seconds: float, verdict: Verdict
) -> None:
    assert services._scaling(SERVICE, hpa(status, reason, seconds)).verdict == verdict


def test_an_autoscaler_that_has_not_looked_has_failed() -> None:
    assert services._scaling(SERVICE, {"metadata": {"name": "x-hpa"}}).verdict == Verdict.failed
