"""When a standby is copied anew: only when its primary has thrown away what it needs, and says so twice."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from shard import node, standby  # type: ignore[import-not-found]

ME = node.Node("pg-shard-0", "pg-shard-0-1", "ml", "10.0.0.7", {})
SECRET = {name: f"secret-of-{name}" for name in node.ROLES}
SEGMENT = standby.SEGMENT


class Local:
    """The pod's own PostgreSQL, at a place in the WAL."""

    def __init__(self, recovering: bool, lsn: str | None) -> None:
        self.row = (recovering, lsn)

    def execute(self, _statement: str) -> Local:
        return self

    def fetchone(self) -> Any:
        return self.row


def copies(monkeypatch: pytest.MonkeyPatch, looks: list[tuple[Local, int | None]]) -> int:
    """How often it was copied, while its primary's oldest byte was what each look says; None: no primary."""
    now = [0.0]
    looking = standby.Stranded(ME, lambda: now[0])
    made: list[bool] = []

    def oldest() -> int:
        if (found := current[0]) is None:
            raise psycopg.OperationalError("nobody leads")
        return found

    current: list[int | None] = [None]
    monkeypatch.setattr(looking, "_oldest", lambda _secret: oldest())
    monkeypatch.setattr(standby.rest.Member, "reinitialize", lambda _self: made.append(True))
    monkeypatch.setattr(type(node.AUTHORITIES), "read_text", lambda _self: "")
    for local, first in looks:
        now[0] += standby.EVERY_S
        current[0] = first
        looking.look(local, SECRET)
        looking.look(local, SECRET)  # too early to count
    return len(made)


STILL = Local(True, "0/3000000")


def test_one_that_needs_what_is_gone_is_copied_once_it_was_seen_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    assert copies(monkeypatch, [(STILL, 9 * SEGMENT)] * 2) == 0
    assert copies(monkeypatch, [(STILL, 9 * SEGMENT)] * 3) == 1


@pytest.mark.parametrize(
    "looks",
    [
        [(STILL, 3 * SEGMENT)] * 9,
        [(STILL, 2 * SEGMENT)] * 9,
        [(STILL, None)] * 9,
        [(Local(False, "0/3000000"), 9 * SEGMENT)] * 9,
        [(Local(True, None), 9 * SEGMENT)] * 9,
        [(Local(True, f"0/3{n}00000"), 9 * SEGMENT) for n in range(9)],
        [(STILL, 9 * SEGMENT), (STILL, 1 * SEGMENT)] * 5,
    ],
    ids=["at its edge", "still there", "nobody leads", "a primary", "unknown", "it moves", "there again"],
)
def test_any_other_is_left_alone(monkeypatch: pytest.MonkeyPatch, looks: list[tuple[Local, int | None]]) -> None:
    assert copies(monkeypatch, looks) == 0


def test_places_in_the_wal() -> None:
    assert standby.position("0/3000000") == 3 * SEGMENT == standby.segment_start("0000000000000003")
    assert standby.position("1/0") == standby.segment_start("0000000100000000") == 1 << 32
    assert standby.segment_start("00000000000000FF") + SEGMENT == 1 << 32
