"""An H2O cloud that is locked, short or full."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from headroom.ops.doctor import Snapshot


def h2o(lab: Any, **cloud: Any) -> Snapshot:
    """The stack, its cloud changed so."""
    seen: Snapshot = lab.healthy()
    states = [{**t, "cloud": {**t["cloud"], **cloud}} if t.get("cloud") else dict(t) for t in seen.h2o]
    return replace(seen, h2o=tuple(states))


def three_nodes(config: dict[str, Any]) -> None:
    config["headroom:h2o"]["demand"]["dataset"] = "700MB"


def test_a_heap_that_is_full(lab: Any) -> None:
    lab.explains(h2o(lab, heap_used=int(0.95 * 2075918336)), "h2o-heap-is-full", "uses 95% of its heap")


def test_a_locked_cloud_of_fewer_nodes_than_planned(lab: Any) -> None:
    plan = lab.plan(three_nodes)
    assert plan.h2o is not None
    assert plan.h2o.nodes.value == 3
    locked = [f for f in lab.diagnose(h2o(lab, locked=True), plan) if f.anchor.startswith("h2o")]
    assert [f.anchor for f in locked] == ["h2o-is-locked"]
    assert "is a cloud of 2, and 3 nodes are planned" in locked[0].symptom
    short = [f for f in lab.diagnose(h2o(lab), plan) if f.anchor.startswith("h2o")]
    assert [f.anchor for f in short] == ["h2o-is-short"]


def test_a_cloud_that_fell_apart(lab: Any) -> None:
    seen = lab.healthy()
    waiting = [{**t, "phase": "waiting", "view": "gone", "cloud": None} for t in seen.h2o]
    assert "cloud of 0" in lab.one(replace(seen, h2o=tuple(waiting)), "h2o-is-short").symptom
