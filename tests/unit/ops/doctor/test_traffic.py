"""Requests: who gets them, how many, how fast they are answered and how."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headroom.ops.doctor import Severity


def test_even_load_is_no_symptom(lab: Any) -> None:
    assert lab.diagnose(lab.traffic((60, 50), promised=0.25, target=150)) == []


def test_one_pod_that_answers_for_most(lab: Any) -> None:
    lab.explains(lab.traffic((90, 10)), "requests-are-uneven", "connections that live long", Severity.warning)


def test_session_affinity_is_the_cause_where_it_is_set(lab: Any) -> None:
    seen = lab.change(
        lab.traffic((90, 10)), "services", "inference", lambda s: s["spec"].update(sessionAffinity="ClientIP")
    )
    assert "ClientIP" in lab.one(seen, "requests-are-uneven").because


def test_a_pod_that_came_meanwhile_proves_no_skew(lab: Any) -> None:
    seen = lab.traffic((90, 10))
    seen = lab.change(
        seen,
        "pods",
        seen.traffic["inference"].pods[1].pod,
        lambda p: lab.condition(p, "Ready", lastTransitionTime="2026-11-22T09:10:30Z"),
    )
    assert lab.diagnose(seen) == []


def test_few_requests_prove_no_skew(lab: Any) -> None:
    assert lab.diagnose(lab.traffic((0.4, 0.05))) == []


def test_a_p99_over_its_promise(lab: Any) -> None:
    seen = lab.traffic((20, 20), p99=0.4, promised=0.25, target=150)
    lab.explains(seen, "latency-is-over-its-promise", "has a p99 of 400 ms, and 250 ms are promised")


def test_answers_that_are_errors(lab: Any) -> None:
    seen = lab.traffic((20, 20), errors=2.0)
    lab.explains(seen, "errors-are-over-their-threshold", "answers 10% of its requests with an error")


def test_more_requests_than_planned(lab: Any) -> None:
    seen = lab.traffic((90, 90), promised=0.25, target=150)
    words = "gets 180.0 requests/s, and 150 are planned"
    lab.explains(seen, "more-requests-than-planned", words, Severity.warning)


def test_a_load_balancer_near_its_limit(lab: Any) -> None:
    def limit(config: dict[str, Any]) -> None:
        config["headroom:services"]["inference"]["service"] = {"loadBalancer": {"maxRps": 160}}

    words = "145 of the 160 requests/s"
    seen, plan = lab.traffic((75, 70)), lab.plan(limit)
    lab.explains(seen, "load-balancer-is-at-its-limit", words, Severity.warning, plan)


def test_a_selector_that_leads_elsewhere(lab: Any) -> None:
    selector = {"app.kubernetes.io/name": "inference", "version": "2"}
    seen = lab.change(lab.healthy(), "services", "inference", lambda s: s["spec"].update(selector=selector))
    lab.explains(seen, "service-selects-the-wrong-pods", "version=2")


def test_pods_of_another_workload_behind_the_service(lab: Any) -> None:
    seen = lab.healthy()
    stranger = lab.sick("pods", "atmax", "atmax")
    stranger["metadata"]["labels"]["app.kubernetes.io/name"] = "inference"
    found = lab.one(replace(seen, pods=(*seen.pods, stranger)), "service-selects-the-wrong-pods")
    assert "atmax" in found.symptom


def test_a_ready_pod_that_is_no_endpoint(lab: Any) -> None:
    def change(slice_: dict[str, Any]) -> None:
        slice_["endpoints"] = slice_["endpoints"][:1]

    seen = lab.change(lab.healthy(), "endpoint_slices", "inference", change)
    assert "leaves out" in lab.one(seen, "service-selects-the-wrong-pods").symptom
