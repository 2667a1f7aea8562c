"""Steps end by themselves, where they should."""

from __future__ import annotations

import pytest

from headroom.ops.scale.gradual import Walk


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
