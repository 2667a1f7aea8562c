"""Whether pods survive a node drain, and who owns their number."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from policy.rules.model import SCALED, Manifest, StackRule, matches, name, namespace, pod, spec, subject

PAUSED = "autoscaling.keda.sh/paused-replicas"


def disruption_budgets(manifests: Sequence[Manifest]) -> Iterator[tuple[Manifest, str]]:
    """Workloads of several pods without a disruption budget, pods under two of them (evictions then fail), and budgets
    that let no pod go (drains then hang)."""
    budgets = [m for m in manifests if m.get("kind") == "PodDisruptionBudget"]
    for workload in (m for m in manifests if m.get("kind") in SCALED):
        template = pod(workload)
        mine = [
            b
            for b in budgets
            if template and namespace(b) == namespace(workload) and matches(spec(b).get("selector"), template.labels)
        ]
        floor = lowest_replicas(workload, manifests)
        if not mine and floor > 1:
            yield workload, f"runs {floor} pods or more and no PodDisruptionBudget selects them"
        if len(mine) > 1:
            yield workload, f"{', '.join(name(b) for b in mine)} select the same pods: evictions fail; keep one"
    for budget in budgets:
        floors = {
            name(w): lowest_replicas(w, manifests)
            for w in manifests
            if w.get("kind") in SCALED
            and namespace(w) == namespace(budget)
            and (template := pod(w))
            and matches(spec(budget).get("selector"), template.labels)
        }
        held = spec(budget).get("minAvailable")
        running = sum(floors.values())
        if not floors:
            yield budget, "selects no pods of this stack"
        elif spec(budget).get("maxUnavailable") in (0, "0", "0%") or held == "100%":
            yield budget, "lets no pod go: node drains would hang"
        elif isinstance(held, int | float) and 0 < running <= held:
            yield budget, f"keeps {int(held)} of {running} pods: node drains would hang"


def replicas_owner(manifests: Sequence[Manifest]) -> Iterator[tuple[Manifest, str]]:
    """Workloads whose replicas are set although an autoscaler owns them (each deployment would undo it), and workloads
    with two autoscalers. `replicas: 0` is maintenance: it suspends a HorizontalPodAutoscaler on purpose."""
    for workload in (m for m in manifests if m.get("kind") in SCALED):
        owners = autoscalers(workload, manifests)
        if len(owners) > 1:
            yield workload, f"has {len(owners)} autoscalers ({', '.join(subject(o) for o in owners)}): keep one"
        replicas = spec(workload).get("replicas")
        if owners and replicas not in (None, 0):
            yield workload, f"sets replicas {int(replicas)}, which {subject(owners[0])} owns: remove it"


def autoscalers(workload: Manifest, manifests: Sequence[Manifest]) -> list[Manifest]:
    """The autoscalers that own the replicas of a workload."""

    def targets(owner: Manifest) -> bool:
        if owner.get("kind") not in ("HorizontalPodAutoscaler", "ScaledObject"):
            return False
        target: dict[str, Any] = dict(spec(owner).get("scaleTargetRef") or {})
        kind = target.get("kind") or "Deployment"  # KEDA's default
        return namespace(owner) == namespace(workload) and (kind, target.get("name")) == (
            workload.get("kind"),
            name(workload),
        )

    return [m for m in manifests if targets(m)]


def lowest_replicas(workload: Manifest, manifests: Sequence[Manifest]) -> int:
    """The fewest pods that this workload runs: its autoscaler's minimum, else its replicas (1 when silent)."""
    replicas = spec(workload).get("replicas")
    owners = autoscalers(workload, manifests)
    if replicas == 0 or any(PAUSED in ((o.get("metadata") or {}).get("annotations") or {}) for o in owners):
        return 0
    for owner in owners:
        key = "minReplicas" if owner.get("kind") == "HorizontalPodAutoscaler" else "minReplicaCount"
        return int(spec(owner).get(key, 1 if key == "minReplicas" else 0))
    return 1 if replicas is None else int(replicas)


BUDGETS = StackRule(
    "disruption-budgets", "Several pods have one disruption budget, and it lets one go.", disruption_budgets
)
REPLICAS = StackRule(
    "one-replicas-owner", "No replicas where an autoscaler owns them, and one autoscaler.", replicas_owner
)
