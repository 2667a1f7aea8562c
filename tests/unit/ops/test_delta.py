"""What an edit changes, and what of it is sent."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.engine.rendered import ObjectId, Rendered, RenderedObject
from headroom.ops import delta


def thing(name: str, kind: str = "ConfigMap", **body: Any) -> RenderedObject:
    manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "n"}, **body}
    return RenderedObject("", name, "", manifest)


def rendered(*objects: RenderedObject) -> Rendered:
    return Rendered("headroom", "s", "n", objects)


def test_only_what_differs_is_in_it() -> None:
    old = rendered(
        thing("same"), thing("other", data={"a": "1"}), thing("gone"), thing("claim", "PersistentVolumeClaim")
    )
    new = rendered(
        thing("same"), thing("other", data={"a": "2"}), thing("fresh"), thing("pw", "Secret", data={"x": "y"})
    )
    found = delta.compare(old, new)
    assert [o.id.name for o in found.changed] == ["other", "fresh"]
    assert [o.id.name for o in found.removed] == ["gone"]  # a claim holds data, and is never removed
    assert found.lines() == ["change configmap/other in n", "create configmap/fresh in n", "delete configmap/gone in n"]


@pytest.mark.parametrize(
    ("found", "before", "after", "sent"),
    [
        # An image that waits to be deployed is not deployed along, and a fingerprint that is not known here stays.
        (
            {"image": "live", "minReplicas": 2, "mark": "true fingerprint"},
            {"image": "file", "minReplicas": 2, "mark": "placeholder"},
            {"image": "file", "minReplicas": 9, "mark": "placeholder"},
            {"image": "live", "minReplicas": 9, "mark": "true fingerprint"},
        ),
        # What the API server added is not sent; what only the edit has is.
        ({"a": 1, "default": True}, {"a": 1}, {"a": 1, "replicas": 0}, {"a": 1, "replicas": 0}),
        # What the edit takes away goes.
        ({"replicas": 0, "a": 1}, {"replicas": 0, "a": 1}, {"a": 1}, {"a": 1}),
        # Lists go element by element while they are of one length, else as the edit has them.
        ({"l": [{"n": 1, "x": 9}]}, {"l": [{"n": 1}]}, {"l": [{"n": 2}]}, {"l": [{"n": 2}]}),
        (
            {"l": [{"i": "live", "n": 1}]},
            {"l": [{"i": "f", "n": 1}]},
            {"l": [{"i": "f", "n": 2}]},
            {"l": [{"i": "live", "n": 2}]},
        ),
        ({"l": [1, 2, 3]}, {"l": [1]}, {"l": [1, 4]}, {"l": [1, 4]}),
        ({"a": 5}, {"a": 5, "b": {"c": 1}}, {"a": 5, "b": {"c": 2}}, {"a": 5, "b": {"c": 2}}),
    ],
)
def test_the_live_value_is_sent_where_the_edit_changes_nothing(found: Any, before: Any, after: Any, sent: Any) -> None:
    assert delta.carried(found, before, after) == sent


def test_objects_are_applied_in_the_name_of_the_engine_that_has_them() -> None:
    def managed(*entries: tuple[str, str]) -> dict[str, Any]:
        return {"metadata": {"managedFields": [{"manager": m, "operation": o} for m, o in entries]}}

    assert delta.manager_of(managed(("headroom", "Apply"), ("kube-controller-manager", "Update"))) == "headroom"
    assert delta.manager_of(managed(("pulumi-kubernetes-1a2b", "Apply"))) == "pulumi-kubernetes-1a2b"
    assert delta.manager_of(managed(("pulumi-kubernetes-1a2b", "Update"))) == "headroom"
    assert delta.manager_of({"metadata": {}}) == "headroom"


def test_an_object_is_found_by_kind_and_name() -> None:
    found = delta.compare(rendered(), rendered(thing("a")))
    assert found.find("ConfigMap", "a") is not None
    assert found.find("Secret", "a") is None
    assert found.changed[0].id == ObjectId("v1", "ConfigMap", "n", "a")


def test_a_quota_that_shrinks_keeps_its_room_until_the_larger_pods_are_gone() -> None:
    old = thing("q", "ResourceQuota", spec={"hard": {"pods": "8", "requests.cpu": "1", "limits.memory": "2Gi"}})
    new = thing("q", "ResourceQuota", spec={"hard": {"pods": "9", "requests.cpu": "500m", "limits.memory": "2Gi"}})
    found = delta.compare(rendered(old), rendered(new))
    roomy = delta._roomy(found.changed[0], found)
    assert roomy.manifest["spec"]["hard"] == {"pods": "9", "requests.cpu": "1", "limits.memory": "2Gi"}
    grown = delta.compare(rendered(new), rendered(thing("q", "ResourceQuota", spec={"hard": {"pods": "10"}})))
    assert delta._roomy(grown.changed[0], grown) is grown.changed[0]
