"""The rules that look at the whole stack, each passing and broken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from policy.rules import availability, replacement, violations
from policy.rules.replacement import Known

Make = Callable[..., dict[str, Any]]


def budgets(*manifests: dict[str, Any]) -> list[str]:
    return [str(v) for v in availability.BUDGETS.violations(manifests)]


def owners(*manifests: dict[str, Any]) -> list[str]:
    return [str(v) for v in availability.REPLICAS.violations(manifests)]


def test_one_pod_needs_no_budget(workload: Make) -> None:
    assert budgets(workload()) == []


def test_several_pods_need_a_budget(workload: Make, budget: Make, autoscaler: Make) -> None:
    three = workload({"spec.replicas": 3})
    assert len(budgets(three)) == 1
    assert budgets(three, budget(minAvailable=2)) == []
    assert len(budgets(three, budget(minAvailable=2, namespace="other"))) == 2, "selects nothing there"
    assert len(budgets(workload(), autoscaler(minReplicas=3))) == 1
    assert budgets(workload(), autoscaler(minReplicas=3), budget(maxUnavailable=1)) == []


def test_a_budget_that_lets_nobody_go_is_refused(workload: Make, budget: Make) -> None:
    three = workload({"spec.replicas": 3})
    for held in ({"minAvailable": 3}, {"minAvailable": "100%"}, {"maxUnavailable": 0}):
        assert ["drains would hang" in v for v in budgets(three, budget(**held))] == [True], held


def test_a_budget_without_pods_and_two_budgets_are_refused(workload: Make, budget: Make) -> None:
    assert ["selects no pods" in v for v in budgets(budget(minAvailable=1))] == [True]
    twice = budgets(workload({"spec.replicas": 3}), budget(minAvailable=1), budget(name="other", minAvailable=1))
    assert ["keep one" in v for v in twice] == [True]


def test_a_paused_workload_is_not_asked_for_more_than_it_runs(workload: Make, budget: Make, autoscaler: Make) -> None:
    assert budgets(workload({"spec.replicas": 0}), autoscaler(minReplicas=3), budget(minAvailable=2)) == []
    keda = autoscaler(kind="ScaledObject", minReplicaCount=3)
    keda["metadata"]["annotations"] = {availability.PAUSED: "0"}
    assert budgets(workload(), keda) == []


def test_replicas_under_an_autoscaler_are_refused(workload: Make, autoscaler: Make) -> None:
    assert ["sets replicas 3" in v for v in owners(workload({"spec.replicas": 3}), autoscaler(minReplicas=2))] == [True]
    keda = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "x", "namespace": "ml"}}
    keda["spec"] = {"scaleTargetRef": {"name": "app"}}  # type: ignore[assignment]
    assert len(owners(workload({"spec.replicas": 3}), keda)) == 1


def test_replicas_without_an_autoscaler_and_maintenance_pass(workload: Make, autoscaler: Make) -> None:
    assert owners(workload({"spec.replicas": 3})) == []
    assert owners(workload({"spec.replicas": 3}), autoscaler("other", minReplicas=2)) == []
    assert owners(workload(), autoscaler(minReplicas=2)) == []
    assert owners(workload({"spec.replicas": 0}), autoscaler(minReplicas=2)) == []


def test_two_autoscalers_are_refused(workload: Make, autoscaler: Make) -> None:
    both = owners(workload(), autoscaler(minReplicas=2), autoscaler(kind="ScaledObject", minReplicaCount=2))
    assert ["2 autoscalers" in v for v in both] == [True]


def test_a_stateful_set_is_replaced_only_when_named(workload: Make) -> None:
    was = Known(workload({"spec.serviceName": "old"}, kind="StatefulSet", name="pg-shard-0"))
    now = workload({"spec.serviceName": "new"}, kind="StatefulSet", name="pg-shard-0")
    found = list(replacement.check([was], [now]))
    assert ["spec.serviceName" in v.message for v in found] == [True]
    assert list(replacement.check([was], [now], allow=["pg-shard-0"])) == []
    assert len(list(replacement.check([was], [now], allow=["pg-shard-1"]))) == 1


def test_what_can_be_changed_in_place_is_no_replacement(workload: Make) -> None:
    was = Known(workload({"spec.replicas": 2}, kind="StatefulSet"))
    now = workload({"spec.replicas": 3, "spec.template.spec.containers.0.image": "x:2"}, kind="StatefulSet")
    assert list(replacement.check([was], [now])) == []


def test_a_replacement_that_the_program_asks_for_counts(workload: Make) -> None:
    was = Known(workload({"spec.replicas": 2}, kind="StatefulSet"), ("spec.replicas",))
    now = workload({"spec.replicas": 3}, kind="StatefulSet")
    assert len(list(replacement.check([was], [now]))) == 1


def test_a_new_stateful_set_and_other_kinds_pass(workload: Make) -> None:
    assert list(replacement.check([], [workload(kind="StatefulSet")])) == []
    was = Known(workload({"spec.selector": {"a": "b"}}))
    assert list(replacement.check([was], [workload()])) == [], "the rule is about StatefulSets"


def test_all_rules_together_find_what_each_finds(workload: Make) -> None:
    bad = workload({"spec.replicas": 3, "spec.template.spec.hostNetwork": True})
    assert {v.rule for v in violations([bad])} == {"restricted-pods", "disruption-budgets"}
