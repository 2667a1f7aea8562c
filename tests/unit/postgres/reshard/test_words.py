"""How far moves are, in words; what counts as stuck."""

from __future__ import annotations

from dataclasses import replace

from shard.reshard.mover import Pace  # type: ignore[import-not-found]

from headroom.ops.reshard import Moving, State

MOVE = Moving(7, 0, 1, "planned", 1, 1, 1, None, None, "", 1.0, None)


def state(*moves: Moving) -> State:
    return State(1, (0,) * 256, False, False, True, moves)


def test_an_estimate_follows_what_was_done_since_the_first_look() -> None:
    pace = Pace()
    assert pace.left(0, 100, 1000.0) == ""
    assert pace.left(3, 97, 1006.0) == "", "too few to say"
    assert pace.left(20, 80, 1020.0) == ", about 80 s left"
    assert pace.left(50, 50, 1200.0) == ", about 3 minutes left"


def test_a_mover_that_goes_on_counts_its_own_moves_alone() -> None:
    pace = Pace()
    assert pace.left(60, 40, 0.0) == ""
    assert pace.left(80, 20, 60.0) == ", about 60 s left"


def test_a_move_that_waits_for_its_turn_is_not_stuck() -> None:
    waiting = replace(MOVE, bucket=9, idle=4000.0)
    assert state(replace(MOVE, step="copying"), waiting).silent == ()
    assert state(replace(MOVE, step="done"), waiting).silent == ()


def test_a_move_without_news_is_stuck() -> None:
    old = replace(MOVE, step="following", idle=4000.0)
    assert state(old, replace(MOVE, bucket=9)).silent == (old,)
    assert state(replace(MOVE, idle=700.0), replace(MOVE, step="done", idle=700.0)).silent != ()
