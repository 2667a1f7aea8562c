"""Which revision a rollback leads to."""

from __future__ import annotations

from pathlib import Path

import pytest

from headroom.engine.model import Target
from headroom.errors import InputError
from headroom.kubectl import Kubectl
from headroom.ops import history, undo
from headroom.ops.deploy import Request
from headroom.ops.history import Revision, State
from headroom.ops.rollback import choose


def revision(number: int, state: State, content: str, what: str = "up") -> Revision:
    text = f"config: {{headroom:services: {{a: {{image: {content}}}, b: {{image: y}}}}}}\n"
    return Revision(number, "2026-01-01T00:00:00+00:00", what, state, text, text)


def test_to_the_last_that_got_ready_and_differs() -> None:
    a, b = revision(1, "healthy", "a"), revision(2, "healthy", "b")
    assert choose([a, b]) is a
    assert choose([a, revision(2, "failed", "b")]) is a
    assert choose([a, revision(2, "failed", "b"), revision(3, "failed", "c")]) is a
    assert choose([a, b, revision(3, "healthy", "b", "scale")]) is a  # the same again is no way back


def test_what_was_left_is_not_gone_back_to() -> None:
    history_of_two = [revision(1, "healthy", "a"), revision(2, "left", "b"), revision(3, "healthy", "a", "rollback")]
    with pytest.raises(InputError, match="no earlier deployment"):
        choose(history_of_two)
    assert choose(history_of_two, to=2) is history_of_two[1]  # but for who asks for it


def test_a_rollback_that_was_stopped_is_taken_up_again() -> None:
    stopped = revision(3, "failed", "a", "rollback")
    assert choose([revision(1, "healthy", "a"), revision(2, "left", "b"), stopped]) is stopped


def test_of_one_service_only_its_own_change_counts() -> None:
    a, b = revision(1, "healthy", "a"), revision(2, "healthy", "b")
    assert choose([a, b], "a") is a
    with pytest.raises(InputError, match="no earlier deployment of b"):
        choose([a, b], "b")


def test_an_unknown_number_names_those_there_are() -> None:
    with pytest.raises(InputError) as raised:
        choose([revision(4, "healthy", "a"), revision(5, "healthy", "b")], to=1)
    assert "one of 4, 5" in raised.value.fix


def test_a_revision_survives_its_packing() -> None:
    before = revision(7, "healthy", "a")
    assert history._unpacked(history._packed(before)) == before


def test_a_secret_in_the_clear_does_not_get_into_the_history(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text("config: {headroom:environment: dev, headroom:secrets: {redisApp: hunter2}}\n")
    with pytest.raises(InputError, match="is not encrypted"):
        history.texts(Request("x", file, Target(Kubectl(Path("kubectl"), None, "none"), "nowhere"), None))


def replica_set(number: int, ready: int) -> dict[str, object]:
    annotations = {"deployment.kubernetes.io/revision": str(number)}
    return {"metadata": {"annotations": annotations}, "status": {"readyReplicas": ready} if ready else {}}


def test_by_kubernetes_own_memory_ready_pods_come_first() -> None:
    one, two, three = replica_set(1, 0), replica_set(2, 3), replica_set(3, 0)
    assert undo.choose([one, two, replica_set(4, 0), three], 4) is two  # the rollout of 4 hangs
    assert undo.choose([one, replica_set(4, 3), three], 4) is three
    with pytest.raises(InputError, match="is its first"):
        undo.choose([one], 1)
