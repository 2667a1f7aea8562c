"""Waiting for objects while the API server is not always there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from headroom.engine import rollout
from headroom.engine.rendered import ObjectId
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.progress import Silent

JOB = ObjectId("batch/v1", "Job", "ns", "move")
REFUSED = "The connection to the server 10.0.0.1:6443 was refused"


def job(*conditions: str) -> str:
    told = [{"type": c, "status": "True"} for c in conditions]
    found = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "move", "namespace": "ns"}, "spec": {}}
    return json.dumps({**found, "status": {"conditions": told}})


class Answers(Kubectl):
    """An API server that gives these answers in turn; None is none."""

    answers: Iterator[str | None]

    def run(self, *args: str, **_: Any) -> subprocess.CompletedProcess[str]:
        answer = next(self.answers)
        if answer is None:
            raise EnvironmentFailure(f"kubectl {args[0]} failed: {REFUSED}")
        return subprocess.CompletedProcess(args, 0, answer, "")


def answers(*given: str | None) -> Answers:
    made = Answers(Path("kubectl"), Path("kubeconfig"))
    object.__setattr__(made, "answers", iter(given))
    return made


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "_POLL", 0.0)


def test_an_api_server_that_restarts_ends_no_wait() -> None:
    server = answers(job(), None, None, job(), None, job("Complete"))
    rollout.until_ready(server, [JOB], 60, Silent())
    assert list(server.answers) == []


def test_one_that_was_never_there_is_said_at_once() -> None:
    server = answers(None, job("Complete"))
    with pytest.raises(EnvironmentFailure, match="refused"):
        rollout.until_ready(server, [JOB], 60, Silent())


def test_one_that_stays_away_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "_AWAY", -1.0)
    with pytest.raises(EnvironmentFailure, match="refused"):
        rollout.until_ready(answers(job(), None, job("Complete")), [JOB], 60, Silent())


@pytest.mark.parametrize(("kind", "back"), [("Deployment", True), ("StatefulSet", False)])
def test_a_new_version_that_does_not_get_ready_is_told_of_the_way_back(kind: str, back: bool) -> None:
    """That of the stores is no version of a service: their data does not go back."""
    metadata = {"name": "api", "namespace": "ns", "generation": 1}
    found = {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": {"replicas": 2}, "status": {}}
    server = answers(json.dumps(found), *[json.dumps({"items": []})] * 5)
    with pytest.raises(EnvironmentFailure, match="did not get ready") as failed:
        rollout.until_ready(server, [ObjectId("apps/v1", kind, "ns", "api")], -1, Silent())
    assert failed.value.fix.startswith(rollout.AGAIN)
    assert ("headroom rollback SERVICE" in failed.value.fix) is back
