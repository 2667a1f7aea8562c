"""Watching a canary: what ends it, and what is said when nothing can be learned."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from headroom.capacity import demand, plan
from headroom.engine import rollout
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops.canary import run
from headroom.ops.canary.verdict import Verdict

FILE = Path(__file__).resolve().parents[3] / "Pulumi.local.yaml"
SERVICE = next(s for s in plan.make(demand.load("local", FILE)).services if s.key == "inference")
TEXT = """\
# TYPE http_requests_total counter
http_requests_total{method="POST",path="/predict",status="200"} 5.0
"""


class Pods(Kubectl):
    """One stable pod and one canary. `canary(look)` is its state at each look: ready, unready, starting, hung, unpulled
    or lost (the API server does not answer)."""

    canary: Callable[[int], str]
    looks: int

    def get(self, *args: str, timeout: float = 60) -> dict[str, Any]:
        selector = args[-1]
        if args[0] == "services":
            return {"items": []}
        if "track=stable" in selector:
            return {"items": [_pod("inference-stable", "ready")]}
        if "track=canary" in selector:
            self._next()
            return {"items": [_pod("inference-canary", self._state)]}
        return {"items": [_pod("inference-stable", "ready"), _pod("inference-canary", self._state)]}

    def raw(self, path: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        if "inference-canary" in path and self._state == "hung":
            raise EnvironmentFailure("no answer within 20 s")
        return subprocess.CompletedProcess([], 0, TEXT, "")

    @property
    def _state(self) -> str:
        state = self.canary(self.looks)
        if state == "lost":
            self._next()
            raise EnvironmentFailure("the API server does not answer")
        return state

    def _next(self) -> None:
        object.__setattr__(self, "looks", self.looks + 1)


def _pod(name: str, state: str) -> dict[str, Any]:
    ready = state in ("ready", "hung")
    status: dict[str, Any] = {"name": "inference", "started": state != "starting", "state": {"running": {}}}
    if state == "unpulled":
        status["state"] = {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    return {"metadata": {"name": name}, "status": {"conditions": [condition], "containerStatuses": [status]}}


class Told:
    """The ends of steps."""

    def __init__(self) -> None:
        self.ends: list[tuple[str, bool]] = []

    def begin(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...
    def note(self, text: str) -> None: ...

    def end(self, text: str, *, ok: bool) -> None:
        self.ends.append((text, ok))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Verdict, Told]]:
    """Watches a canary for no time at all; its first state is that of the moment in which it is waited for."""
    monkeypatch.setattr(run, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(rollout, "until_ready", lambda *_: None)

    def watch(canary: Callable[[int], str]) -> tuple[Verdict, Told]:
        kubectl, told = Pods(Path("kubectl"), Path("kubeconfig")), Told()
        object.__setattr__(kubectl, "canary", canary)
        object.__setattr__(kubectl, "looks", 0)
        request: Any = SimpleNamespace(stack="local", target=SimpleNamespace(kubectl=kubectl))
        change: Any = SimpleNamespace(service="inference", service_plan=SERVICE, canary="inference-canary")
        return run.watch(request, change, 0.0, told), told

    return watch


def test_one_look_is_enough_for_one_that_is_well(watched: Any) -> None:
    found, told = watched(lambda _: "ready")
    assert found.word == "unknown"
    assert told.ends == [("the canary takes requests", True), ("compared", True)]


@pytest.mark.parametrize(
    ("state", "words"),
    [("unready", "is not any more"), ("hung", "gives no answer (its metrics: no answer within 20 s)")],
)
def test_pods_that_are_unready_or_silent_for_some_looks_are_worse(watched: Any, state: str, words: str) -> None:
    found, _ = watched(lambda look: "ready" if look == 0 else state)
    assert found.word == "worse"
    assert "pod inference-canary" in found.reason and words in found.reason


@pytest.mark.parametrize("state", ["unready", "hung", "lost"])
def test_for_two_looks_they_are_not(watched: Any, state: str) -> None:
    found, _ = watched(lambda look: state if look in (2, 3) else "ready")
    assert found.word == "unknown"


def test_a_new_pod_may_start(watched: Any) -> None:
    found, _ = watched(lambda look: "ready" if look == 0 else "starting")
    assert found.word == "unknown"


def test_where_nothing_can_be_learned_it_is_said_that_the_canary_stays(watched: Any) -> None:
    with pytest.raises(
        EnvironmentFailure, match="the API server does not answer\nthe canary of inference stays"
    ) as found:
        watched(lambda look: "ready" if look == 0 else "lost")
    assert "headroom canary abort inference --stack local" in found.value.fix


def test_an_image_that_cannot_be_pulled_takes_no_requests(monkeypatch: pytest.MonkeyPatch, watched: Any) -> None:
    def waits(*_: Any) -> None:
        raise EnvironmentFailure("not ready")

    monkeypatch.setattr(rollout, "until_ready", waits)
    found, told = watched(lambda _: "unpulled")
    assert found.word == "worse"
    assert "ErrImagePull" in found.reason
    assert told.ends == [("waiting for the canary's pods", False)]
