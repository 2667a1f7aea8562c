"""What the program deploys for each stack file is what the doctor takes for well."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from headroom import project
from headroom.capacity import demand as demands
from headroom.capacity import plan as plans
from headroom.engine.render import render
from headroom.ops.doctor import Snapshot, diagnose

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize("stack", ["local", "dev", "staging", "prod"])
def test_as_deployed_nothing_is_wrong(stack: str) -> None:
    objects = [o.manifest for o in render(ROOT, stack).objects]

    def of(kind: str) -> tuple[dict[str, object], ...]:
        return tuple(o for o in objects if o["kind"] == kind)

    plan = plans.make(demands.load(stack, project.stack_file(stack, ROOT)))
    seen = Snapshot(
        at=datetime.now(UTC),
        deployments=of("Deployment"),
        stateful_sets=of("StatefulSet"),
        autoscalers=of("HorizontalPodAutoscaler"),
        scaled_objects=of("ScaledObject"),
        services=of("Service"),
        config_maps=of("ConfigMap"),
        quotas=of("ResourceQuota"),
        namespaces=tuple(n.name for n in plan.namespaces),
        apis={f"v1beta1.{group}": "" for group in ("metrics.k8s.io", "custom.metrics.k8s.io")},
    )
    assert {d["metadata"]["name"] for d in seen.deployments} >= {s.key for s in plan.services}
    # KEDA's operator makes the HPA of a ScaledObject, and nobody operates here.
    unmade = {("autoscaler-is-missing", s.key) for s in plan.services if s.autoscaling.source == "keda"}
    assert {(f.anchor, f.component) for f in diagnose(seen, plan).findings} == unmade
