"""`headroom doctor` on real pods: who gets the requests, how they are answered, and what the autoscaler makes of it."""

from __future__ import annotations

import contextlib
import copy
import json
import threading
import time
from typing import Any

import httpx
import pytest

from headroom.local import faults

pytestmark = pytest.mark.e2e

NAMESPACE = "headroom"


def test_one_pod_that_answers_for_all(ward: Any) -> None:
    """One client whose one connection stays at the pod that it was opened to."""
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=f"http://{ward.address('inference')}:8080", timeout=5) as client:
            while not done.is_set():
                client.post("/predict", json={"entity_id": "nobody"})
                time.sleep(0.005)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        found = ward.finds("requests-are-uneven", "inference", seconds=90)
        assert "its busiest pod answers" in found["symptom"]
        assert "connections that live long" in found["because"]
        assert any(line.endswith(": 0.0 requests/s") for line in found["evidence"]), found
    finally:
        done.set()
        asking.join()
    ward.well("inference")


@pytest.mark.slow
def test_stores_that_do_not_answer_are_what_users_see(ward: Any) -> None:
    """Every bouncer hangs: each request waits for its features until its deadline."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(ward.load(40))
        for pod in ward.pods("pgbouncer"):
            stack.enter_context(faults.frozen(ward.cluster, NAMESPACE, pod))
        slow = ward.finds("latency-is-over-its-promise", "inference", seconds=60)
        assert "250 ms are promised" in slow["symptom"]
        failing = ward.finds("errors-are-over-their-threshold", "inference", seconds=60)
        assert "of its requests with an error (5xx)" in failing["symptom"]
    ward.well(seconds=300)


@pytest.mark.slow
def test_more_requests_than_planned_and_than_the_balancer_passes(ward: Any) -> None:
    # Far below what is sent: a machine that is busy with other work answers a part of it.
    asked = {"demand": {"targetRps": 2}, "service": {"loadBalancer": {"maxRps": 4}}}
    with ward.load(40), ward.asking_for(**asked):
        assert "and 2 are planned" in ward.finds("more-requests-than-planned", "inference")["symptom"]
        assert "of the 4 requests/s" in ward.finds("load-balancer-is-at-its-limit", "inference")["symptom"]
    ward.well("inference")


@pytest.mark.slow
def test_an_autoscaler_at_its_bound_and_then_in_its_window(ward: Any) -> None:
    """Held at 1 % of the cpu it wants more pods than it may have; held at what was planned, fewer than it has."""
    planned = ward.kubectl.get("hpa", "inference-hpa", "-n", NAMESPACE)["spec"]["metrics"]
    lower = copy.deepcopy(planned)
    lower[0]["resource"]["target"] = {"type": "Utilization", "averageUtilization": 1}

    def hold(metrics: Any) -> None:
        change = json.dumps({"spec": {"metrics": metrics}})
        ward.kubectl.run("patch", "hpa", "inference-hpa", "-n", NAMESPACE, "--type=merge", "-p", change)

    try:
        with ward.load(10):
            hold(lower)
            found = ward.finds("autoscaler-is-at-its-bound", "inference", seconds=240)
            assert "has its maximum of 3 pods, and needs more" in found["symptom"]
    finally:
        hold(planned)
    found = ward.finds("autoscaler-waits-in-its-window", "inference", seconds=120)
    assert "has 3 pods and will have fewer soon" in found["symptom"]
    ward.well("inference")


@pytest.mark.slow
def test_a_pod_that_does_not_get_ready(ward: Any) -> None:
    """Its probe asks for what the program does not have."""
    with ward.container(readinessProbe={"httpGet": {"path": "/nowhere"}}):
        found = ward.finds("pod-is-not-ready", "inference", seconds=240)
        assert any("statuscode: 404" in line for line in found["evidence"]), found
    ward.well("inference")
