"""Autoscalers that are blind, at their bound, switched off, changed or gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headroom.ops.doctor import Severity, Snapshot


def active(lab: Any, **fields: str) -> Snapshot:
    """The stack, its autoscaler inactive for this reason."""
    seen: Snapshot = lab.change(
        lab.healthy(),
        "autoscalers",
        "inference-hpa",
        lambda h: lab.condition(h, "ScalingActive", status="False", **fields),
    )
    return seen


def no_requests(lab: Any) -> Snapshot:
    def change(pod: dict[str, Any]) -> None:
        pod["spec"]["containers"].append({"name": "proxy", "image": "proxy", "resources": {}})

    seen: Snapshot = lab.change(lab.healthy(), "pods", "inference-", change)
    return seen


def test_none(lab: Any) -> None:
    lab.explains(replace(lab.healthy(), autoscalers=()), "autoscaler-is-missing", "headroom up --stack local")


def test_one_whose_metrics_nobody_serves(lab: Any) -> None:
    lab.explains(lab.with_autoscaler("nometric-hpa"), "no-metrics-api", "nothing serves custom.metrics.k8s.io")


def test_metrics_server_away_is_told_before_the_autoscaler_says_so(lab: Any) -> None:
    seen = replace(lab.healthy(), apis={"v1beta1.metrics.k8s.io": "is not available: endpoints not found"})
    found = lab.one(seen, "no-metrics-api")
    assert "endpoints not found" in found.because
    assert "metrics-server" in found.fix


def test_one_whose_metric_has_no_value(lab: Any) -> None:
    seen = active(lab, reason="FailedGetResourceMetric", message="no metrics returned")
    lab.explains(seen, "metric-is-missing", "FailedGetResourceMetric: no metrics returned")


def test_keda_without_its_metric(lab: Any) -> None:
    scaled = {
        "metadata": {"name": "inference-hpa", "namespace": "headroom"},
        "status": {"conditions": [{"type": "Fallback", "status": "True", "reason": "FallbackExists", "message": "m"}]},
    }
    seen = replace(lab.healthy(), scaled_objects=(scaled,))
    assert "keeps what there is" in lab.one(seen, "metric-is-missing").because


def test_a_container_without_a_request(lab: Any) -> None:
    lab.explains(no_requests(lab), "no-requests-set", "proxy has no request of cpu")


def test_a_request_that_the_autoscaler_misses_is_not_a_missing_metric(lab: Any) -> None:
    hpa = lab.with_autoscaler("norequests-hpa")
    assert lab.diagnose(hpa) == []  # its pods here have requests; the controller's words are old
    both = replace(no_requests(lab), autoscalers=hpa.autoscalers)
    assert "missing request for cpu" in "".join(lab.one(both, "no-requests-set").evidence)


def test_one_that_is_switched_off(lab: Any) -> None:
    seen = active(lab, reason="ScalingDisabled", message="scaling is disabled since the replica count is 0")
    lab.explains(seen, "autoscaler-is-suspended", "headroom maintenance off inference")


def test_two_of_the_same_pods(lab: Any) -> None:
    seen = active(lab, reason="AmbiguousSelector", message="controlled by multiple HPAs")
    lab.explains(seen, "two-autoscalers-own-the-pods", "kubectl get hpa")


def test_one_at_its_bound(lab: Any) -> None:
    seen = lab.with_autoscaler("atmax-hpa")
    lab.explains(seen, "autoscaler-is-at-its-bound", "cpu at 475 %, held at 70 %", Severity.warning)


def test_one_that_waits_is_only_noted(lab: Any) -> None:
    def change(hpa: dict[str, Any]) -> None:
        hpa["status"]["currentReplicas"] = 3
        lab.condition(hpa, "AbleToScale", status="True", reason="ScaleDownStabilized", message="recent recommendations")

    seen = lab.change(lab.healthy(), "autoscalers", "inference-hpa", change)
    lab.explains(seen, "autoscaler-waits-in-its-window", "in the last 300 s", Severity.note)


def test_bounds_that_were_changed_by_hand(lab: Any) -> None:
    seen = lab.change(lab.healthy(), "autoscalers", "inference-hpa", lambda h: h["spec"].update(maxReplicas=20))
    words = "is held between 2 and 20 pods, and 2 to 3 are planned"
    lab.explains(seen, "autoscaler-is-not-as-planned", words, Severity.warning)
