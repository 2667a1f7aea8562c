"""Which edits replace an object."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.ops.diff import immutable

CASES: list[tuple[str, dict[str, Any], dict[str, Any], list[str]]] = [
    *(("StatefulSet", {f: 1}, {f: 2}, []) for f in sorted(immutable.STATEFUL_SET_MUTABLE)),
    *(
        ("StatefulSet", {f: 1}, {f: 2}, [f"spec.{f}"])
        for f in ("podManagementPolicy", "revisionHistoryLimit", "selector", "serviceName", "volumeClaimTemplates")
    ),
    ("StatefulSet", {}, {"serviceName": "x"}, ["spec.serviceName"]),
    ("Deployment", {"selector": {"a": "b"}}, {"selector": {"a": "c"}}, ["spec.selector"]),
    ("Deployment", {"replicas": 1, "template": {}}, {"replicas": 2, "template": {"x": 1}}, []),
    ("Service", {"clusterIP": "None"}, {}, ["spec.clusterIP"]),
    ("Service", {}, {"clusterIP": "None"}, ["spec.clusterIP"]),
    ("Service", {"ports": [1]}, {"ports": [2]}, []),
    (
        "PersistentVolumeClaim",
        {"resources": {"requests": {"storage": "1Gi"}}},
        {"resources": {"requests": {"storage": "2Gi"}}},
        [],
    ),
    ("PersistentVolumeClaim", {"storageClassName": "a"}, {"storageClassName": "b"}, ["spec.storageClassName"]),
    ("PersistentVolumeClaim", {"accessModes": ["a"]}, {"accessModes": ["b"]}, ["spec.accessModes"]),
    ("Job", {"template": {"x": 1}}, {"template": {"x": 2}}, ["spec.template"]),
    ("Job", {"suspend": True}, {"suspend": False}, []),
]


@pytest.mark.parametrize(("kind", "before", "after", "why"), CASES)
def test_fields_that_replace(kind: str, before: dict[str, Any], after: dict[str, Any], why: list[str]) -> None:
    assert immutable.replacing({"kind": kind, "spec": before}, {"kind": kind, "spec": after}) == why


def test_fields_outside_spec_and_immutable_maps() -> None:
    def binding(role: str) -> dict[str, Any]:
        return {"kind": "RoleBinding", "roleRef": {"name": role}}

    assert immutable.replacing(binding("a"), binding("b")) == ["roleRef"]
    fixed = {"kind": "ConfigMap", "immutable": True, "data": {"a": "1"}}
    assert immutable.replacing(fixed, {**fixed, "data": {"a": "2"}}) == ["data"]
    loose = {"kind": "ConfigMap", "data": {"a": "1"}}
    assert immutable.replacing(loose, {**loose, "data": {"a": "2"}}) == []


@pytest.mark.parametrize(
    ("pattern", "hit"),
    [
        ("spec.replicas", True),
        ("spec", True),
        ("*", True),
        ("spec.*", True),
        ("spec.template", False),
        ("metadata", False),
        ("spec.replicas.deeper", False),
    ],
)
def test_replacements_on_request(pattern: str, hit: bool) -> None:
    before, after = ({"kind": "StatefulSet", "spec": {"replicas": n, "template": {}}} for n in (2, 3))
    assert immutable.replacing(before, after, [pattern]) == (["spec.replicas"] if hit else [])


def test_requests_reach_into_lists() -> None:
    def made(memory: str) -> dict[str, Any]:
        return {"kind": "StatefulSet", "spec": {"template": {"spec": {"containers": [{"resources": memory}]}}}}

    pattern = "spec.template.spec.containers[*].resources"
    assert immutable.replacing(made("1Gi"), made("2Gi"), [pattern]) == ["spec.template.spec.containers.*.resources"]
