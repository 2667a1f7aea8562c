"""Where every bucket stands, on shard 0. A step is written down before its work begins, so whoever comes next knows the
most that can have happened."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from shard.reshard.server import Session, Unconfirmed


class Step(StrEnum):
    """In this order. Up to `fencing` a bucket belongs to its source and can go back; from `flipped` on it is the
    target's and only goes on."""

    planned = "planned"
    copying = "copying"
    following = "following"
    """The copy is there and checked; the target applies what the source commits."""
    fencing = "fencing"
    """Writes are refused at the source, or are about to be."""
    flipped = "flipped"
    """The map gives it to the target."""
    opened = "opened"
    """The target takes writes; what the move needed is being removed."""
    done = "done"


BEFORE_FLIP = (Step.planned, Step.copying, Step.following, Step.fencing)
AFTER_FLIP = (Step.flipped, Step.opened)


@dataclass(frozen=True)
class Move:
    """One bucket's row. `grants` are those of its tables at the source when it was fenced."""

    bucket: int
    source: int
    target: int
    step: Step
    token: str
    attempt: int
    source_timeline: str
    target_timeline: str
    fingerprint: str
    grants: list[list[str]]

    @property
    def schema(self) -> str:
        return f"b{self.bucket:03d}"

    @property
    def slot(self) -> str:
        """Of one attempt: a slot that another attempt left cannot be mistaken for it."""
        return f"{self.publication}_{self.token}"

    @property
    def publication(self) -> str:
        """The subscription's name, too."""
        return f"hr_{self.schema}"


_COLUMNS = "bucket, source, target, step, token, attempt, source_timeline, target_timeline, fingerprint, grants"


def read(lead: Session) -> list[Move]:
    """Every row, in the order of buckets."""
    rows = lead.all(f"SELECT {_COLUMNS} FROM headroom.move ORDER BY bucket")  # noqa: S608  a constant
    return [_move(row) for row in rows]


def confirmed(lead: Session, bucket: int) -> Move:
    """One row, of which it is sure that it lasts: a commit goes with the reading. Raises Unconfirmed."""
    with lead.transaction():
        row = lead.one(
            f"UPDATE headroom.move SET changed = now() WHERE bucket = %s RETURNING {_COLUMNS}",  # noqa: S608
            (bucket,),
        )
    if row is None:
        raise Unconfirmed(f"bucket {bucket} has no row in the journal")
    return _move(row)


def plan(lead: Session, moves: Iterable[tuple[int, int, int]]) -> None:
    """Write down what is to be moved as (bucket, source, target), in place of what is done or was never begun."""
    with lead.transaction():
        lead.run("DELETE FROM headroom.move WHERE step IN ('planned', 'done')")
        for bucket, source, target in moves:
            lead.run(
                "INSERT INTO headroom.move (bucket, source, target, step) VALUES (%s, %s, %s, 'planned') "
                "ON CONFLICT DO NOTHING",
                (bucket, source, target),
            )


def write(lead: Session, bucket: int, step: Step, **fields: Any) -> None:
    """The step that begins now, and what is known with it."""
    names = list(fields)
    values = [json.dumps(v) if isinstance(v, list) else v for v in fields.values()]
    assigned = "".join(f", {name} = %s" for name in names)
    with lead.transaction():
        lead.run(
            f"UPDATE headroom.move SET step = %s, changed = now(){assigned} WHERE bucket = %s",  # noqa: S608
            (str(step), *values, bucket),
        )


def note(lead: Session, bucket: int, fields: Mapping[str, Any]) -> None:
    """What people want to know, such as bytes copied; the step stays."""
    assigned = ", ".join(f"{name} = %s" for name in fields)
    lead.run(
        f"UPDATE headroom.move SET changed = now(), {assigned} WHERE bucket = %s",  # noqa: S608
        (*fields.values(), bucket),
    )


def flip(lead: Session, move: Move) -> None:
    """The one commit that gives the bucket to the target: the map and the journal together.

    Raises Unconfirmed where either is not as it was left, and then nothing is changed.
    """
    with lead.transaction():
        mapped = lead.run(
            "UPDATE headroom.map SET version = version + 1, owners[%s] = %s WHERE owners[%s] = %s",
            (move.bucket + 1, move.target, move.bucket + 1, move.source),
        )
        written = lead.run(
            "UPDATE headroom.move SET step = 'flipped', changed = now() "
            "WHERE bucket = %s AND step = 'fencing' AND token = %s",
            (move.bucket, move.token),
        )
        if (mapped.rowcount, written.rowcount) != (1, 1):
            raise Unconfirmed(f"bucket {move.bucket}: the map or the journal is not as this mover left it")


def map_of(lead: Session) -> tuple[int, tuple[int, ...]]:
    """The map's version and owners."""
    version, owners = lead.one("SELECT version, owners FROM headroom.map")
    return int(version), tuple(owners)


def _move(row: Any) -> Move:
    bucket, source, target, step, token, attempt, at_source, at_target, fingerprint, grants = row
    return Move(
        bucket, source, target, Step(step), token, attempt, at_source, at_target, fingerprint, json.loads(grants)
    )
