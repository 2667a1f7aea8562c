"""What lies between two snapshots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headroom.ops.diff.compare import compare, fields, objects, settings
from headroom.ops.diff.model import Absent, Broken, Snapshot

Make = Callable[..., Any]


def test_nothing_changed_is_nothing(thing: Make, line: Make, snapshot: Make) -> None:
    side = snapshot(thing("Deployment", spec={"a": 1}), lines=(line("maxReplicas", 15),))
    found = compare(side, side)
    assert (found.settings, found.objects, found.dangers, found.changed) == ((), (), (), False)


def test_only_changed_settings_are_told_in_the_order_of_the_plan(line: Make) -> None:
    before = [line("minReplicas", 5), line("maxReplicas", 15), line("gone", 1)]
    after = [line("minReplicas", 5), line("new", 2), line("maxReplicas", 30)]
    found = settings(before, after)
    assert [(c.setting, c.before and c.before.value, c.after and c.after.value) for c in found] == [
        ("new", None, 2),
        ("maxReplicas", 15, 30),
        ("gone", 1, None),
    ]


def test_another_formula_with_the_same_value_is_no_change(line: Make) -> None:
    assert settings([line("maxReplicas", 15, bound="throughput")], [line("maxReplicas", 15, bound="latency")]) == ()


def test_operations_come_gravest_first(thing: Make) -> None:
    before = [
        thing("StatefulSet", "db", spec={"serviceName": "a"}),
        thing("Service", "old"),
        thing("PersistentVolumeClaim", "kept", retain=True),
        thing("Deployment", "api", spec={"replicas": 1}),
        thing("Role", "noted", metadata={"annotations": {"headroom.dev/because": "1"}}),
        thing("Role", "same"),
    ]
    after = [
        thing("StatefulSet", "db", spec={"serviceName": "b"}),
        thing("Deployment", "api", spec={"replicas": 2}),
        thing("Deployment", "new"),
        thing("Role", "noted", metadata={"annotations": {"headroom.dev/because": "2"}}),
        thing("Role", "same"),
    ]
    assert [(c.operation, c.object.name) for c in objects(before, after)] == [
        ("replace", "db"),
        ("delete", "old"),
        ("release", "kept"),
        ("update", "api"),
        ("create", "new"),
        ("note", "noted"),
    ]


def test_an_object_named_by_its_content_takes_over(thing: Make) -> None:
    before = [thing("ConfigMap", "api-config-0123456789", data={"a": "1"})]
    after = [thing("ConfigMap", "api-config-abcdef0123", data={"a": "2"})]
    (change,) = objects(before, after)
    assert change.operation == "update"
    assert {f.path for f in change.fields} >= {"metadata.name", "data.a"}


def test_a_name_that_merely_ends_like_a_hash_is_its_own(thing: Make) -> None:
    found = objects([thing("StatefulSet", "pg-shard-3")], [thing("StatefulSet", "pg-shard-4")])
    assert [c.operation for c in found] == ["delete", "create"]


def test_a_new_version_of_an_api_is_an_update(thing: Make) -> None:
    before = thing("HorizontalPodAutoscaler", apiVersion="autoscaling/v1")
    after = thing("HorizontalPodAutoscaler", apiVersion="autoscaling/v2")
    assert [c.operation for c in objects([before], [after])] == ["update"]


def test_another_urn_replaces_unless_aliased(thing: Make) -> None:
    before = thing("Service", urn="urn:a")
    assert [c.operation for c in objects([before], [thing("Service", urn="urn:b")])] == ["replace"]
    assert objects([before], [thing("Service", urn="urn:b", aliases=("urn:a",))]) == ()


def test_fields_are_named_by_what_names_them() -> None:
    before = {
        "containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}],
        "list": [1, 2],
        "gone": {"x": 1},
    }
    after = {"containers": [{"name": "b", "image": "2"}, {"name": "a", "image": "1"}], "list": [1, 3, 4]}
    found = {f.path: (f.before, f.after) for f in fields(before, after)}
    assert found == {"containers[b].image": ("1", "2"), "gone": ({"x": 1}, None), "list": ([1, 2], [1, 3, 4])}


def test_a_new_stack_is_all_creation_and_no_danger(thing: Make, snapshot: Make) -> None:
    found = compare(Absent("prod"), snapshot(thing("StatefulSet", spec={"replicas": 1})))
    assert [c.operation for c in found.objects] == ["create"]
    assert found.dangers == ()
    assert found.changed


def test_a_stack_file_that_goes_deletes_nothing_but_is_a_danger(thing: Make, snapshot: Make) -> None:
    found = compare(snapshot(thing("StatefulSet")), Absent("prod"))
    assert found.objects == ()
    assert ["headroom down --stack prod" in d.words for d in found.dangers] == [True]


def test_a_side_that_cannot_be_read_is_told_with_its_fix(snapshot: Make) -> None:
    found = compare(snapshot(), Broken("prod", "headroom:redis.mode: must be cluster", "set it"))
    assert found.problems == ("after the change: headroom:redis.mode: must be cluster — set it",)
    both = compare(Broken("prod", "a"), Broken("prod", "b"))
    assert [p.split(":")[0] for p in both.problems] == ["before the change", "after the change"]


def test_only_new_warnings_are_told() -> None:
    before = Snapshot("prod", warnings=(("h2o", "old"),))
    after = Snapshot("prod", warnings=(("h2o", "old"), ("h2o", "new")))
    assert compare(before, after).warnings == (("h2o", "new"),)
