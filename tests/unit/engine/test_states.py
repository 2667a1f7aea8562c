"""Pure parts of the kubectl engine: what differs, what is ready, what a stack needs."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.engine import fields, readiness, record
from headroom.engine.model import FieldChange
from headroom.engine.needs import metric_apis
from headroom.engine.rendered import ObjectId


def thing(kind: str = "Deployment", **parts: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "x", "generation": 2}, **parts}


def test_list_elements_are_told_apart_by_name() -> None:
    def pod(*containers: tuple[str, str]) -> dict[str, Any]:
        return thing(spec={"containers": [{"name": n, "image": i} for n, i in containers]})

    assert fields.changed(pod(("a", "1"), ("b", "1")), pod(("b", "2"), ("a", "1"), ("c", "3"))) == (
        FieldChange("spec.containers[b].image", "1", "2"),
        FieldChange("spec.containers[c]", None, {"name": "c", "image": "3"}),
    )


def test_what_the_server_writes_is_no_change() -> None:
    before = thing(status={"a": 1})
    after = thing(status={"a": 2})
    after["metadata"] = {"name": "x", "generation": 3, "resourceVersion": "9", "managedFields": [], "uid": "u"}
    assert fields.changed(before, after) == ()


def test_keys_with_dots_are_quoted() -> None:
    before, after = thing(), thing()
    after["metadata"]["annotations"] = {"a.b/c": "1"}
    before["metadata"]["annotations"] = {}
    assert [f.path for f in fields.changed(before, after)] == ['metadata.annotations["a.b/c"]']


@pytest.mark.parametrize(
    ("path", "patterns", "forces"),
    [
        ("spec.template.spec.x", ("spec.template",), True),
        ("spec.templates", ("spec.template",), False),
        ("spec.containers[a].image", ("spec.containers",), True),
        ("spec.replicas", ("*",), True),
        ("spec.replicas", (), False),
    ],
)
def test_replacement_is_forced_at_or_under_a_path(path: str, patterns: tuple[str, ...], forces: bool) -> None:
    assert fields.forces_replacement(FieldChange(path), patterns) is forces


@pytest.mark.parametrize(
    ("kind", "spec", "status", "verdict"),
    [
        ("Deployment", {"replicas": 2}, {"observedGeneration": 1}, "waiting"),
        (
            "Deployment",
            {"replicas": 2},
            {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 1, "replicas": 2},
            "waiting",
        ),
        (
            "Deployment",
            {"replicas": 2},
            {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 3},
            "waiting",
        ),
        (
            "Deployment",
            {"replicas": 2},
            {"observedGeneration": 2, "updatedReplicas": 2, "availableReplicas": 2, "replicas": 2},
            "ready",
        ),
        ("Deployment", {"replicas": 0}, {"observedGeneration": 2}, "ready"),
        (
            "Deployment",
            {"replicas": 2},
            {"observedGeneration": 2, "conditions": [{"reason": "ProgressDeadlineExceeded", "message": "m"}]},
            "failed",
        ),
        ("StatefulSet", {"replicas": 2}, {"observedGeneration": 2, "readyReplicas": 1}, "waiting"),
        (
            "StatefulSet",
            {"replicas": 2},
            {
                "observedGeneration": 2,
                "readyReplicas": 2,
                "currentRevision": "a",
                "updateRevision": "b",
                "updatedReplicas": 1,
            },
            "waiting",
        ),
        (
            "StatefulSet",
            {"replicas": 2, "updateStrategy": {"type": "OnDelete"}},
            {"observedGeneration": 2, "readyReplicas": 2, "currentRevision": "a", "updateRevision": "b"},
            "ready",
        ),
        (
            "StatefulSet",
            {"replicas": 3, "updateStrategy": {"rollingUpdate": {"partition": 2}}},
            {
                "observedGeneration": 2,
                "readyReplicas": 3,
                "currentRevision": "a",
                "updateRevision": "b",
                "updatedReplicas": 1,
            },
            "ready",
        ),
        ("DaemonSet", {}, {"observedGeneration": 2, "desiredNumberScheduled": 2, "numberAvailable": 1}, "waiting"),
        ("Job", {}, {}, "waiting"),
        ("Job", {"suspend": True}, {}, "ready"),
        ("Job", {}, {"conditions": [{"type": "Complete", "status": "True"}]}, "ready"),
        ("Job", {}, {"conditions": [{"type": "Failed", "status": "True"}]}, "failed"),
        ("PersistentVolumeClaim", {"storageClassName": "fast"}, {"phase": "Pending"}, "waiting"),
        ("PersistentVolumeClaim", {"storageClassName": "late"}, {"phase": "Pending"}, "ready"),
        ("PersistentVolumeClaim", {}, {"phase": "Bound"}, "ready"),
        ("PersistentVolumeClaim", {}, {"phase": "Lost"}, "failed"),
        ("Namespace", {}, {"phase": "Terminating"}, "waiting"),
        ("ConfigMap", {}, {}, "ready"),
        ("HorizontalPodAutoscaler", {"minReplicas": 2}, {}, "waiting"),
        (
            "HorizontalPodAutoscaler",
            {"minReplicas": 2},
            {"conditions": [{"type": "AbleToScale", "status": "True"}], "currentReplicas": 1},
            "waiting",
        ),
        (
            "HorizontalPodAutoscaler",
            {"minReplicas": 2},
            {"conditions": [{"type": "AbleToScale", "status": "True"}], "currentReplicas": 2},
            "ready",
        ),
        (
            "HorizontalPodAutoscaler",
            {"minReplicas": 2},
            {"conditions": [{"type": "AbleToScale", "status": "True"}], "currentReplicas": 1, "desiredReplicas": 2},
            "ready",
        ),
        (
            "HorizontalPodAutoscaler",
            {"minReplicas": 2},
            {
                "conditions": [
                    {"type": "AbleToScale", "status": "True"},
                    {"type": "ScalingActive", "status": "False", "reason": "ScalingDisabled"},
                ],
                "currentReplicas": 0,
            },
            "ready",
        ),
    ],
)
def test_readiness(kind: str, spec: Any, status: Any, verdict: str) -> None:
    assert readiness.of(thing(kind, spec=spec, status=status), frozenset({"late"})).verdict == verdict


def test_the_programs_own_word_ends_the_wait() -> None:
    waiting = thing("Job", spec={}, status={})
    waiting["metadata"]["annotations"] = {"pulumi.com/skipAwait": "true"}
    assert readiness.of(waiting) == readiness.READY


def test_metric_apis() -> None:
    metrics = [{"type": "Resource"}, {"type": "Pods"}, {"type": "External"}]
    assert metric_apis({"spec": {"metrics": metrics}}) == {"custom.metrics.k8s.io", "external.metrics.k8s.io"}
    assert metric_apis({"spec": {}}) == set()


def test_what_holds_data_is_retained_whatever_the_program_says() -> None:
    assert record.retained(ObjectId("v1", "Namespace", "", "a"), retain=False)
    assert record.retained(ObjectId("v1", "PersistentVolumeClaim", "n", "a"), retain=False)
    assert not record.retained(ObjectId("v1", "ConfigMap", "n", "a"), retain=False)
    assert record.retained(ObjectId("v1", "ConfigMap", "n", "a"), retain=True)


def test_a_job_that_says_how_far_it_is_is_quoted_while_it_is_waited_for() -> None:
    job = thing("Job", spec={}, status={})
    job["metadata"]["annotations"] = {readiness.PROGRESS: "3 of 85 buckets moved"}
    assert readiness.of(job) == readiness.State("waiting", "3 of 85 buckets moved")
    job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    assert readiness.of(job) == readiness.READY
