"""Steps end by themselves, where they should."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from headroom.errors import EnvironmentFailure
from headroom.ops import delta as deltas
from headroom.ops.scale import gradual
from headroom.ops.scale.gradual import LOOKS, Silence, Walk, _Way
from headroom.ops.signals import Counters, Limits, Look, Watcher
from headroom.progress import Silent

WELL = Look({"a": Counters(100), "b": Counters(100)})
HANGS = Look({"a": Counters(100)}, {"b": "its metrics: no answer within 20 s"})
NOTHING = Look({})
LOST = EnvironmentFailure("Prometheus (m/p) does not answer:\n no route")


def test_all_the_way_when_nothing_rises() -> None:
    gone: list[tuple[int, int]] = []
    walk = Walk(6)
    walk.to(3, lambda at, pods: gone.append((at, pods)) or "")  # type: ignore[func-returns-value]
    assert gone == [(6, 5), (5, 4), (4, 3)]
    assert (walk.reached, walk.reason) == (3, "")


@pytest.mark.parametrize(("start", "end", "bad", "reached"), [(10, 2, 6, 8), (4, 20, 7, 7)])
def test_a_bad_step_down_is_taken_back_and_one_up_stays(start: int, end: int, bad: int, reached: int) -> None:
    walk = Walk(start)
    walk.to(end, lambda _, pods: "error rate 9 % against 0 %" if pods == bad else "")
    assert walk.reached == reached
    assert walk.reason == "error rate 9 % against 0 %"


def test_stopped_by_hand_it_is_known_how_far_it_came() -> None:
    def go(_: int, pods: int) -> str:
        if pods == 4:
            raise KeyboardInterrupt
        return ""

    walk = Walk(6)
    with pytest.raises(KeyboardInterrupt):
        walk.to(2, go)
    assert walk.reached == 5


@pytest.mark.parametrize(
    ("looks", "reason"),
    [
        ([WELL, *[HANGS] * LOOKS], "pod b gives no answer (its metrics: no answer within 20 s)"),
        ([WELL, *[HANGS] * (LOOKS - 1), WELL, HANGS], ""),
        ([WELL, *[NOTHING] * LOOKS], "nothing tells its errors and p99 any more"),
        ([WELL, *[NOTHING] * (LOOKS - 1), WELL, NOTHING], ""),
        ([NOTHING] * 10, ""),  # an image without metrics: said, and its pods' state watched
        (
            [WELL, *[LOST] * LOOKS],
            "nothing tells its errors and p99 any more (Prometheus (m/p) does not answer: no route)",
        ),
        ([WELL, *[LOST] * (LOOKS - 1), WELL, LOST], ""),
        ([WELL, LOST, NOTHING, LOST], "nothing tells its errors and p99 any more"),
    ],
)
def test_who_was_heard_and_is_not_for_some_looks_is_silent(looks: list[Look | EnvironmentFailure], reason: str) -> None:
    silence = Silence()
    for look in looks:
        assert not silence.reason
        silence.after(*((None, look.message) if isinstance(look, EnvironmentFailure) else (look,)))
    assert silence.reason.startswith(reason) and bool(silence.reason) == bool(reason)


@pytest.fixture
def way(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A service of six pods whose counters are `way.tells(pods)`; steps take no time."""
    monkeypatch.setattr(gradual, "LOOK_SECONDS", 0.0)
    monkeypatch.setattr(gradual, "BASELINE_SECONDS", 0.0)
    monkeypatch.setattr(deltas, "ready", lambda *_: None)

    class Told(Watcher):
        def told(self) -> str:
            return ""

        def pods(self, track: str | None = None) -> list[dict[str, Any]]:
            return []

        def heard(self) -> Look:
            found: Look | EnvironmentFailure = tried.tells(tried.pods)
            if isinstance(found, EnvironmentFailure):
                raise found
            return found

    monkeypatch.setattr(Watcher, "of", Told)
    monkeypatch.setattr(_Way, "_set", lambda self, pods: setattr(self, "pods", pods))
    request: Any = SimpleNamespace(stack="shop", target=SimpleNamespace(kubectl=None))
    proposal: Any = SimpleNamespace(live=SimpleNamespace(deployment=""))
    service: Any = SimpleNamespace(key="inference")
    autoscaler: Any = None
    tried: Any = _Way(request, proposal, service, autoscaler, 0.0, Limits())
    tried.pods, tried.tells = 6, lambda _: WELL
    return tried


@pytest.mark.parametrize(("end", "held"), [(3, 5), (12, 10)])
@pytest.mark.parametrize("look", [NOTHING, HANGS, LOST])
def test_a_step_after_which_nobody_answers_is_the_last(way: Any, look: Look, end: int, held: int) -> None:
    """Down it is taken back; up it stays."""
    way.tells = lambda pods: look if pods in (4, 10) else WELL
    way.begin(6, Silent())
    walk = Walk(6)
    walk.to(end, lambda at, pods: way.go(at, pods, Silent()))
    assert (walk.reached, way.pods) == (held, held)
    assert "any more" in walk.reason or "gives no answer" in walk.reason


@pytest.mark.parametrize("look", [HANGS, LOST])
def test_what_cannot_be_watched_is_not_begun(way: Any, look: Look) -> None:
    way.tells = lambda _: look
    with pytest.raises(EnvironmentFailure, match="inference cannot be watched, nothing was changed: ") as refused:
        way.begin(6, Silent())
    assert "headroom doctor inference --stack shop" in refused.value.fix


def test_an_image_that_tells_nothing_is_scaled_all_the_same(way: Any) -> None:
    way.tells = lambda _: NOTHING
    way.begin(6, Silent())
    walk = Walk(6)
    walk.to(3, lambda at, pods: way.go(at, pods, Silent()))
    assert (walk.reached, walk.reason) == (3, "")
