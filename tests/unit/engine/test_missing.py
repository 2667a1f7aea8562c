"""What somebody deleted from the cluster, and Pulumi's state still holds."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headroom.engine import missing
from headroom.engine.model import Change, Changes
from headroom.engine.rendered import ObjectId, Rendered, RenderedObject

NAMES = ("there", "lost", "new")


def thing(name: str) -> RenderedObject:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "ml"}}
    return RenderedObject(f"urn:{name}", name, "kubernetes:core/v1:ConfigMap", manifest)


def stack(deployment: Any) -> Any:
    return SimpleNamespace(export_stack=lambda: SimpleNamespace(deployment=deployment))


def test_only_what_pulumi_made_and_the_program_still_has_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    rendered = Rendered("headroom", "one", "ml", tuple(thing(name) for name in NAMES))
    there = thing("there").id
    monkeypatch.setattr(missing, "existing", lambda _, ids: {there: {}} if there in ids else {})
    state = {"resources": [{"urn": f"urn:{name}"} for name in ("there", "lost", "dropped")]}
    kubectl: Any = None
    assert missing.of(stack(state), kubectl, rendered) == {"urn:lost": ObjectId("v1", "ConfigMap", "ml", "lost")}
    for nothing in (None, {}, {"resources": None}, {"resources": [{"urn": "urn:lost", "delete": True}]}):
        assert missing.of(stack(nothing), kubectl, rendered) == {}


def test_a_preview_says_that_it_is_made_again() -> None:
    changes = Changes(tuple(Change("unchanged", "ConfigMap", "ml", name) for name in ("there", "lost")), ("a warning",))
    told = missing.told(changes, {"urn:lost": ObjectId("v1", "ConfigMap", "ml", "lost")})
    assert [(c.action, c.name, c.reason) for c in told.items] == [
        ("unchanged", "there", ""),
        ("create", "lost", missing.REASON),
    ]
    assert told.warnings == ("a warning",)
