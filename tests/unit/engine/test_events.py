"""Events of the Pulumi engine, in the form that the CLI writes them, as changes."""

from __future__ import annotations

from typing import Any

from pulumi.automation.events import EngineEvent

from headroom.engine.events import Listener
from headroom.progress import Silent


def before_step(op: str, name: str, kind: str = "kubernetes:core/v1:ConfigMap", **more: Any) -> EngineEvent:
    state = {
        "type": kind,
        "urn": f"urn:{name}",
        "id": "",
        "parent": "",
        "provider": "",
        "inputs": {"metadata": {"name": name, "namespace": "ml"}},
        "outputs": {},
        **more.pop("state", {}),
    }
    metadata = {"op": op, "urn": f"urn:pulumi:x::{name}", "type": kind, "provider": "", **more}
    metadata["old" if op in ("delete", "delete-replaced") else "new"] = state
    return EngineEvent.from_json({"sequence": 1, "timestamp": 1, "resourcePreEvent": {"metadata": metadata}})


def heard(*events: EngineEvent) -> Listener:
    listener = Listener(Silent())
    for event in events:
        listener(event)
    return listener


def test_changes_by_action() -> None:
    changes = heard(
        before_step("create", "a"),
        before_step("same", "b"),
        before_step("update", "c", detailedDiff={"data.k": {"diffKind": "update", "inputDiff": False}}),
        before_step("delete", "d"),
        before_step("create", "component", kind="headroom:index:Component"),
    ).result()
    assert [str(c) for c in changes.items] == [
        "create ConfigMap ml/a",
        "unchanged ConfigMap ml/b",
        "update ConfigMap ml/c",
        "delete ConfigMap ml/d",
    ]
    assert [f.path for f in changes.items[2].fields] == ["data.k"]


def test_the_steps_of_a_replacement_are_one_change() -> None:
    changes = heard(
        before_step("delete-replaced", "a"),
        before_step("replace", "a", keys=["spec"], detailedDiff={"spec.x": {"diffKind": "update-replace"}}),
        before_step("create-replacement", "a"),
    ).result()
    assert [(c.action, c.reason) for c in changes.items] == [("replace", "spec cannot change in place")]
    assert [f.path for f in changes.items[0].fields] == ["spec.x"]


def test_what_is_retained_is_kept_not_deleted() -> None:
    listener = heard(before_step("delete", "data", state={"retainOnDelete": True}))
    assert listener.result().items == ()
    assert listener.kept == ["configmap/data in ml"]


def test_values_are_never_taken_over() -> None:
    listener = heard(before_step("update", "s", kind="kubernetes:core/v1:Secret", diffs=["data"]))
    assert [(f.path, f.before, f.after) for f in listener.result().items[0].fields] == [("data", None, None)]
