"""Nodes start together, leave together, and leave only when a node is really lost."""

from __future__ import annotations

import random

import pytest
from headroom_h2o.membership import Age, Member, Phase, decide

CALM = Age(ordered=30, whole=1, unseen={})


def member(pod: str, token: str, phase: Phase = "waiting", together: tuple[str, ...] = ()) -> Member:
    return Member(pod, token, phase, frozenset(together), "10.0.0.1")


def test_a_node_waits_until_all_others_are_there() -> None:
    me = member("a", "1")
    assert decide(me, {"b": member("b", "2"), "c": None}, CALM).what == "stay"
    assert decide(me, {"b": member("b", "2"), "c": member("c", "0", "leaving")}, CALM).what == "stay"
    found = decide(me, {"b": member("b", "2"), "c": member("c", "3")}, CALM)
    assert (found.what, found.together) == ("start", {"1", "2", "3"})


def test_a_node_joins_those_who_started_with_it_and_no_others() -> None:
    me = member("a", "1")
    assert decide(me, {"b": member("b", "2", "running", ("1", "2"))}, CALM).what == "start"
    assert decide(me, {"b": member("b", "2", "running", ("0", "2"))}, CALM).what == "stay"


def test_one_node_alone_is_a_cloud() -> None:
    assert decide(member("a", "1"), {}, CALM).together == {"1"}


@pytest.mark.parametrize(
    ("peer", "age", "words"),
    [
        (member("b", "9", "leaving"), CALM, "not the process"),
        (None, Age(ordered=100, whole=1, unseen={"b": 61}), "not answered"),
        (member("b", "2", "running", ("1", "2")), Age(ordered=301, whole=None, unseen={}), "no cloud of 2"),
        (member("b", "2", "running", ("1", "2")), Age(ordered=500, whole=11, unseen={}), "not been whole"),
    ],
)
def test_a_node_leaves_a_cloud_that_lost_one(peer: Member | None, age: Age, words: str) -> None:
    found = decide(member("a", "1", "running", ("1", "2")), {"b": peer}, age)
    assert found.what == "leave"
    assert words in found.reason


@pytest.mark.parametrize(
    ("peer", "age"),
    [
        (None, Age(ordered=100, whole=1, unseen={"b": 59})),
        (member("b", "2", "waiting"), Age(ordered=2, whole=None, unseen={})),
        (member("b", "2", "running", ("1", "2")), Age(ordered=290, whole=None, unseen={})),
    ],
)
def test_memory_is_not_thrown_away_for_a_short_pause(peer: Member | None, age: Age) -> None:
    assert decide(member("a", "1", "running", ("1", "2")), {"b": peer}, age).what == "stay"


def test_whatever_dies_when_all_end_in_one_cloud() -> None:
    """Nodes take turns in any order and see each other late; processes die for a while; then all is quiet."""
    for seed in range(200):
        rng = random.Random(seed)  # noqa: S311
        pods = [str(n) for n in range(rng.randint(1, 6))]
        tokens = iter(range(10_000))
        now = {p: member(p, f"t{next(tokens)}") for p in pods}
        seen = {p: dict(now) for p in pods}
        turns = 400
        for turn in range(turns):
            pod = rng.choice(pods)
            if turn < turns / 2 and rng.random() < 0.1:
                now[pod] = member(pod, f"t{next(tokens)}", "leaving")
                continue
            for other in pods:
                if rng.random() < 0.7:
                    seen[pod][other] = now[other]
            me = now[pod]
            if me.phase == "leaving":
                now[pod] = member(pod, me.token)
                continue
            found = decide(me, {o: seen[pod][o] for o in pods if o != pod}, CALM)
            if found.what == "start":
                now[pod] = member(pod, me.token, "running", tuple(found.together))
            elif found.what == "leave":
                now[pod] = member(pod, f"t{next(tokens)}", "leaving")
        assert {m.phase for m in now.values()} == {"running"}, (seed, now)
        assert {m.together for m in now.values()} == {frozenset(m.token for m in now.values())}, seed
