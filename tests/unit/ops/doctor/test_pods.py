"""Pods that do not get a node, an image, memory, readiness or leave to run."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from headroom.ops.doctor import Severity, Snapshot
from headroom.ops.doctor.snapshot import ContainerId


def test_a_pod_that_is_larger_than_any_node(lab: Any) -> None:
    words = "no node is large enough: the pod asks for 64 cores and 1,024 GiB"
    lab.explains(lab.with_pod("big"), "no-room-for-a-pod", words)


def test_a_full_node_is_not_a_small_one(lab: Any) -> None:
    def change(pod: dict[str, Any]) -> None:
        pod["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "1500m", "memory": "1Gi"}

    lab.explains(lab.change(lab.with_pod("big"), "pods", "big", change), "no-room-for-a-pod", "every node is full")


def test_a_pod_that_no_node_fits(lab: Any) -> None:
    lab.explains(lab.with_pod("picky"), "no-node-fits-a-pod", "nodeSelector gpu=yes")


@pytest.mark.parametrize(
    ("words", "because"),
    [
        ("0/3 nodes are available: 3 node(s) had untolerated taint {gpu: true}.", "taint"),
        ("0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints.", "uneven"),
        ("0/3 nodes are available: 3 node(s) were unschedulable.", "cordoned"),
    ],
)
def test_what_keeps_a_pod_from_its_node(lab: Any, words: str, because: str) -> None:
    seen = lab.change(lab.with_pod("picky"), "pods", "picky", lambda p: lab.condition(p, "PodScheduled", message=words))
    assert because in lab.one(seen, "no-node-fits-a-pod").because


def test_an_image_that_cannot_be_pulled(lab: Any) -> None:
    lab.explains(lab.with_pod("noimage"), "image-cannot-be-pulled", "the node does not reach the registry")


@pytest.mark.parametrize(
    ("message", "because", "fix"),
    [
        ("manifest unknown", "no such image", "headroom:services.inference.image"),
        ("manifest unknown", "no such image", "if an earlier deployment got ready, headroom rollback inference"),
        ("pull access denied, repository does not exist or may require authorization", "login", "pullSecrets"),
        ("x509: certificate signed by unknown authority", "trust", "headroom up"),
    ],
)
def test_what_a_registry_says(lab: Any, message: str, because: str, fix: str) -> None:
    def change(pod: dict[str, Any]) -> None:
        pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = message

    found = lab.one(lab.change(lab.with_pod("noimage"), "pods", "noimage", change), "image-cannot-be-pulled")
    assert because in found.because
    assert fix in found.fix


def test_a_limit_that_is_smaller_than_the_plans(lab: Any) -> None:
    lab.explains(lab.with_pod("oom"), "out-of-memory", "its limit is 64Mi, below the 1Gi of the plan")


def test_memory_that_the_plan_gives_and_that_is_not_enough_is_another_fix(lab: Any) -> None:
    def change(pod: dict[str, Any]) -> None:
        pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "1Gi"

    found = lab.one(lab.change(lab.with_pod("oom"), "pods", "oom", change), "out-of-memory")
    assert "the 1Gi of the plan" in found.because
    assert "headroom rightsize inference" in found.fix


def test_a_container_that_was_killed_once_and_is_well_again_is_a_warning(lab: Any) -> None:
    def change(pod: dict[str, Any]) -> None:
        lab.condition(pod, "Ready", status="True")
        status = pod["status"]["containerStatuses"][0]
        status.update(ready=True, restartCount=1, state={"running": {"startedAt": "2026-11-22T09:10:50Z"}})

    seen = lab.change(lab.with_pod("oom"), "pods", "oom", change)
    assert "once" in lab.explains(seen, "out-of-memory", "its limit", Severity.warning).symptom


def test_a_container_that_ends_again_and_again(lab: Any) -> None:
    lab.explains(lab.with_pod("crash"), "container-keeps-crashing", "exit code 3")


def said(pod: dict[str, Any], reason: str, message: str, at: str) -> dict[str, Any]:
    """An event about a pod's container, as the kubelet writes one."""
    about = {"kind": "Pod", "name": pod["metadata"]["name"], "namespace": "headroom"}
    about["fieldPath"] = "spec.containers{main}"
    metadata = {"name": f"{reason}-{at}", "namespace": "headroom"}
    return {"metadata": metadata, "involvedObject": about, "reason": reason, "message": message, "lastTimestamp": at}


START = ("Unhealthy", 'Startup probe failed: Get "http://10.1.0.4:8080/": connect: connection refused')
FAILED = ("Unhealthy", 'Liveness probe failed: Get "http://10.1.0.4:8080/": context deadline exceeded')
KILLING = ("Killing", "Container main failed liveness probe, will be restarted")


@pytest.mark.parametrize(
    ("code", "events", "because"),
    [
        # The container ended at 09:09:54.
        (3, [(*START, "2026-11-22T09:09:53Z")], "the program ended by itself with exit code 3"),
        (1, [(*START, "2026-11-22T09:09:53Z")], "the program ended with an error"),
        (137, [(*FAILED, "2026-11-22T09:09:53Z")], "it was killed (SIGKILL)"),
        (139, [("Killing", "Stopping container main", "2026-11-22T09:09:50Z")], "it crashed (SIGSEGV)"),
        (3, [(*KILLING, "2026-11-22T09:04:00Z")], "the program ended by itself with exit code 3"),
        (
            3,
            [("Killing", "Container guard failed liveness probe, will be restarted", "2026-11-22T09:09:50Z")],
            "the program ended by itself with exit code 3",
        ),
        (
            137,
            [(*START, "2026-11-22T09:09:20Z"), (*FAILED, "2026-11-22T09:09:40Z"), (*KILLING, "2026-11-22T09:09:40Z")],
            f"the kubelet restarts it because its liveness probe fails: {FAILED[1]}",
        ),
        (
            0,
            [("Killing", "Container main failed startup probe, will be restarted", "2026-11-22T09:09:54Z")],
            "the kubelet restarts it because its startup probe fails",
        ),
    ],
)
def test_a_probe_ended_a_container_only_where_the_kubelet_says_so(
    lab: Any, code: int, events: list[tuple[str, str, str]], because: str
) -> None:
    def change(pod: dict[str, Any]) -> None:
        status = pod["status"]["containerStatuses"][0]
        ended = {**status["state"]["terminated"], "exitCode": code}
        status.update(state={"waiting": {"reason": "CrashLoopBackOff"}}, lastState={"terminated": ended})

    seen = lab.change(lab.with_pod("crash"), "pods", "crash", change)
    seen = replace(seen, events=(*seen.events, *(said(seen.pods[-1], *e) for e in events)))
    assert lab.one(seen, "container-keeps-crashing").because.startswith(because)


def test_the_last_words_of_a_container_are_told(lab: Any) -> None:
    seen = lab.with_pod("crash")
    name = seen.pods[-1]["metadata"]["name"]
    seen = replace(seen, last_words={ContainerId("headroom", name, "main"): ("no model at /model",)})
    assert "log: no model at /model" in lab.one(seen, "container-keeps-crashing").evidence


def test_a_pod_that_does_not_get_ready(lab: Any) -> None:
    def change(pod: dict[str, Any]) -> None:
        lab.condition(pod, "Ready", status="False", message="containers with unready status: [inference]")
        pod["status"]["containerStatuses"][0]["ready"] = False

    seen: Snapshot = lab.healthy()
    name = next(p["metadata"]["name"] for p in seen.pods if p["metadata"]["name"].startswith("inference-"))
    event = {
        "metadata": {"name": "e", "namespace": "headroom"},
        "involvedObject": {"kind": "Pod", "name": name, "namespace": "headroom"},
        "reason": "Unhealthy",
        "message": "Readiness probe failed: HTTP probe failed with statuscode: 503",
        "lastTimestamp": "2026-11-22T09:10:55Z",
    }
    seen = replace(seen, at=seen.at + timedelta(minutes=5), events=(*seen.events, event))
    seen = lab.change(seen, "pods", name, change)
    lab.explains(seen, "pod-is-not-ready", "the program itself says that it is not ready")


@pytest.mark.parametrize("all_of_them", [True, False])
def test_all_pods_of_a_service_that_answer_no_probe_in_time_are_overloaded(lab: Any, all_of_them: bool) -> None:
    """One alone hangs: more pods would not mend it."""
    seen: Snapshot = lab.healthy()
    names = [p["metadata"]["name"] for p in seen.pods if p["metadata"]["name"].startswith("inference-")]
    events = []
    for name in names if all_of_them else names[:1]:
        lab.change(seen, "pods", name, lambda p: lab.condition(p, "Ready", status="False", message="unready"))
        late = {"message": "Readiness probe failed: context deadline exceeded", "lastTimestamp": "2026-11-22T09:10:55Z"}
        about = {"kind": "Pod", "name": name, "namespace": "headroom"}
        events.append({"metadata": {"name": name}, "involvedObject": about, "reason": "Unhealthy", **late})
    seen = replace(seen, at=seen.at + timedelta(minutes=5), events=(*seen.events, *events))
    found = [f for f in lab.diagnose(seen) if f.anchor == "pod-is-not-ready"]
    assert len(found) == (len(names) if all_of_them else 1)
    assert all(("more load" in f.because) is all_of_them for f in found)
    assert all((f"headroom scale inference --to {2 * len(names)} --because" in f.fix) is all_of_them for f in found)
    assert all("kubectl logs" in f.fix for f in found)


def test_a_quota_without_room(lab: Any) -> None:
    def change(deployment: dict[str, Any]) -> None:
        deployment["status"] = lab.sick("deployments", "over-quota")["status"]

    seen = lab.change(lab.healthy(), "deployments", "inference", change)
    lab.explains(seen, "quota-is-used-up", "pods=1,requests.cpu=60m,requests.memory=40Mi")


def test_a_pod_that_is_against_the_rules(lab: Any) -> None:
    words = 'pods "inference-x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'
    seen = lab.change(
        lab.healthy(),
        "deployments",
        "inference",
        lambda d: lab.condition(d, "ReplicaFailure", status="True", message=words),
    )
    lab.explains(seen, "pod-is-refused", "the namespace enforces a Pod Security Standard")
