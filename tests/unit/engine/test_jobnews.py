"""Jobs' own words while Pulumi waits."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headroom.engine import jobnews
from headroom.engine.rendered import ObjectId
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.progress import Silent


def job(name: str, said: str, *conditions: str) -> dict[str, Any]:
    told = [{"type": c, "status": "True"} for c in conditions]
    metadata = {"name": name, "annotations": {"headroom.dev/progress": said}}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}, "status": {"conditions": told}}


class Jobs(Kubectl):
    """An API server that is away at first."""

    asked: list[str]

    def items(self, kind: str, namespace: str, _selector: str = "") -> tuple[dict[str, Any], ...]:
        self.asked.append(namespace)
        if len(self.asked) == 1:
            raise EnvironmentFailure("no answer")
        return (job("pg-move-1", "3 of 85 buckets moved"), job("pg-move-0", "done long ago", "Complete"))


class Heard(Silent):
    def __init__(self) -> None:
        self.details: list[str] = []
        self.enough = threading.Event()

    def detail(self, text: str) -> None:
        self.details.append(text)
        self.enough.set()


def test_a_job_that_works_is_told_and_one_that_is_done_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobnews, "EVERY_S", 0.01)
    kubectl, heard = Jobs(Path("kubectl"), Path("kubeconfig")), Heard()
    object.__setattr__(kubectl, "asked", [])
    objects = [SimpleNamespace(id=ObjectId("batch/v1", "Job", "ns", "pg-move-1"))]
    with jobnews.told(kubectl, SimpleNamespace(objects=objects), heard):  # type: ignore[arg-type]
        assert heard.enough.wait(10)
    assert set(heard.details) == {"job/pg-move-1: 3 of 85 buckets moved"}
    assert set(kubectl.asked) == {"ns"}


def test_a_stack_without_jobs_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobnews, "EVERY_S", 0.0)
    kubectl = Jobs(Path("kubectl"), Path("kubeconfig"))
    object.__setattr__(kubectl, "asked", [])
    with jobnews.told(kubectl, SimpleNamespace(objects=[]), Silent()):  # type: ignore[arg-type]
        pass
    assert kubectl.asked == []
