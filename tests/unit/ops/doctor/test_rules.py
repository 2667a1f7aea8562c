"""What the rules have in common: a stack that is well gives nothing, and one thing broken gives one finding."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from headroom.ops.doctor import Severity, Snapshot, diagnose
from headroom.ops.doctor.model import Anchor
from headroom.ops.doctor.snapshot import ProbeFailure


def test_a_healthy_stack_gives_none(lab: Any) -> None:
    assert lab.diagnose(lab.healthy()) == []


@pytest.mark.parametrize("anchor", get_args(Anchor))
def test_every_symptom_has_a_test(anchor: str) -> None:
    here = [file.read_text() for file in Path(__file__).parent.glob("test_*.py")]
    assert any(f'"{anchor}"' in text for text in here)


def test_a_job_that_gave_up(lab: Any) -> None:
    words = {"reason": "BackoffLimitExceeded", "message": "its limit"}
    seen = lab.change(lab.healthy(), "jobs", "", lambda j: lab.condition(j, "Failed", status="True", **words))
    lab.explains(seen, "job-failed", "BackoffLimitExceeded")


def test_a_node_that_is_not_well(lab: Any) -> None:
    words = {"status": "True", "message": "the kubelet said so"}
    seen = lab.change(lab.healthy(), "nodes", "", lambda n: lab.condition(n, "DiskPressure", **words))
    lab.explains(seen, "node-is-not-well", "the kubelet said so")


def test_a_program_that_does_not_answer(lab: Any) -> None:
    silence = ProbeFailure("redis", "pod redis-1", "no answer within 20 s")
    lab.explains(replace(lab.healthy(), failures=(silence,)), "no-answer", "no answer within 20 s")


@pytest.mark.parametrize(
    ("subject", "fix"),
    [
        ("pod redis-1", "headroom verify --stack local; kubectl describe pod redis-1 -n headroom"),
        ("node node-0", "headroom verify --stack local; kubectl describe node node-0"),
        ("requests of inference", "headroom verify --stack local"),
        ("nodes and storage classes", "headroom verify --stack local"),
    ],
)
def test_what_does_not_answer_is_told_once_with_commands_that_there_are(lab: Any, subject: str, fix: str) -> None:
    failures = tuple(ProbeFailure("redis", subject, f"no answer to {what}") for what in ("this", "that", "this"))
    found = lab.one(replace(lab.healthy(), failures=failures), "no-answer")
    assert found.fix == fix
    assert found.evidence == ("no answer to this", "no answer to that")


def test_a_part_that_is_gone(lab: Any) -> None:
    others = tuple(s for s in lab.healthy().stateful_sets if s["metadata"]["name"] != "redis")
    lab.explains(replace(lab.healthy(), stateful_sets=others), "part-is-not-deployed", "StatefulSet headroom/redis")


def test_nothing_deployed_is_one_finding(lab: Any) -> None:
    empty = Snapshot(at=lab.at, namespaces=("headroom",))
    assert lab.one(empty, "part-is-not-deployed").symptom == "is not on this cluster"


def test_one_component_and_what_ails_the_cluster(lab: Any) -> None:
    words = {"status": "Unknown", "message": "stopped posting"}
    seen = lab.change(lab.with_pod("oom"), "nodes", "", lambda n: lab.condition(n, "Ready", **words))
    plan = lab.plan()
    assert {f.anchor for f in diagnose(seen, plan, "redis").findings} == {"node-is-not-well"}
    assert {f.anchor for f in diagnose(seen, plan, "inference").findings} == {"node-is-not-well", "out-of-memory"}


def test_errors_come_first(lab: Any) -> None:
    seen = replace(lab.with_autoscaler("atmax-hpa"), failures=(ProbeFailure("redis", "pod redis-1", "silence"),))
    found = lab.diagnose(seen)
    assert [f.severity for f in found] == [Severity.error, Severity.warning]
