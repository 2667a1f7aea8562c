"""Buckets on their way between shards: how far they are, what a change would move, and a person's wishes.

Everything is asked inside the shards' pods, where no password is needed. Shard 0 keeps the map and the journal.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from headroom.capacity.plan.buckets import reassigned
from headroom.capacity.plan.model import PostgresPlan
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.ops import inside

BYTES_PER_SECOND = 10_000_000
"""What a shard was seen to give beside its load, with indexes and both comparisons; for estimates only."""
SECONDS_A_BUCKET = 2.0
"""What each costs beside its rows: definitions, slot, fence."""
STUCK_SECONDS = 600
ROLL_BACK_SECONDS = 600
_STATE = """
SELECT json_build_object(
  'version', (SELECT version FROM headroom.map), 'owners', (SELECT owners FROM headroom.map),
  'paused', (SELECT paused FROM headroom.wish), 'aborted', (SELECT aborted FROM headroom.wish),
  'working', EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
                     AND classid = 1919251304 AND objid = 1634886656  -- "reshard" in two halves
                     AND database = (SELECT oid FROM pg_database WHERE datname = current_database())),
  'moves', (SELECT coalesce(json_agg(json_build_object(
      'bucket', bucket, 'source', source, 'target', target, 'step', step, 'attempt', attempt, 'bytes', bytes,
      'copied', copied, 'pause_ms', pause_ms, 'verified', verified, 'said', said,
      'idle', round(extract(epoch FROM now() - changed)),
      'took', round(extract(epoch FROM changed - started))) ORDER BY bucket), '[]') FROM headroom.move))
"""
_SHARD = """
SELECT json_build_object(
  'number', (SELECT number FROM headroom.shard), 'version', (SELECT version FROM headroom.map),
  'recorded', (SELECT coalesce(json_agg(bucket ORDER BY bucket), '[]') FROM headroom.bucket),
  'writable', (SELECT coalesce(json_agg(substr(n.nspname, 2)::int ORDER BY n.nspname), '[]') FROM pg_namespace AS n
      JOIN pg_class AS c ON c.relnamespace = n.oid AND c.relname = 'features'
      WHERE n.nspname ~ '^b[0-9]{3}$' AND has_schema_privilege('features', n.oid, 'USAGE')
      AND has_table_privilege('features', c.oid, 'INSERT')),
  'streams', (SELECT coalesce(json_agg(name ORDER BY name), '[]') FROM (
      SELECT 'slot ' || slot_name FROM pg_replication_slots WHERE slot_name ~ '^hr_b[0-9]{3}_' UNION ALL
      SELECT 'publication ' || pubname FROM pg_publication WHERE pubname ~ '^hr_b[0-9]{3}$' UNION ALL
      SELECT 'subscription ' || subname FROM pg_subscription WHERE subname ~ '^hr_b[0-9]{3}$') AS found (name)))
"""
_SIZES = """
SELECT json_object_agg(substr(n.nspname, 2)::int, size) FROM (
  SELECT relnamespace, sum(pg_total_relation_size(oid)) AS size FROM pg_class WHERE relkind = 'r' GROUP BY 1) AS t
JOIN pg_namespace AS n ON n.oid = t.relnamespace WHERE n.nspname ~ '^b[0-9]{3}$'
"""


@dataclass(frozen=True)
class Moving:
    """One bucket of the journal; `idle` and `took` are seconds."""

    bucket: int
    source: int
    target: int
    step: str
    attempt: int
    bytes: int
    copied: int
    pause_ms: float | None
    verified: bool | None
    said: str
    idle: float
    took: float | None


@dataclass(frozen=True)
class State:
    """What shard 0 knows. `working`: a mover holds the lease."""

    version: int
    owners: tuple[int, ...]
    paused: bool
    aborted: bool
    working: bool
    moves: tuple[Moving, ...]

    @property
    def unfinished(self) -> tuple[Moving, ...]:
        return tuple(m for m in self.moves if m.step != "done")

    @property
    def silent(self) -> tuple[Moving, ...]:
        """What should have come further. A move that has not begun waits for its turn while others get on."""
        left = self.unfinished
        if left and min(m.idle for m in self.moves) > STUCK_SECONDS:
            return left
        return tuple(m for m in left if m.step != "planned" and m.idle > STUCK_SECONDS)


@dataclass(frozen=True)
class Shard:
    """What one shard says of itself; `streams` are slots, publications and subscriptions of moves."""

    number: int
    version: int
    recorded: tuple[int, ...]
    writable: tuple[int, ...]
    streams: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """What a shard owns by the map, by its own record, and by what it lets the services write, but for buckets that are
    on their way. `orphans` are streams of no move that goes on: a slot among them keeps WAL until the disk is full.
    """

    mapped: tuple[int, ...]
    recorded: tuple[int, ...]
    writable: tuple[int, ...]
    same_version: bool
    orphans: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return self.mapped == self.recorded == self.writable and self.same_version


@dataclass(frozen=True)
class Foresight:
    """What a change of the number of shards would move; `pairs` counts buckets by (source, target)."""

    buckets: tuple[int, ...]
    pairs: dict[tuple[int, int], int]
    bytes: int
    seconds: float


def primary(kubectl: Kubectl, namespace: str, shard: int) -> str | None:
    """The pod that says it takes writes; None while there is none."""
    for pod in kubectl.items("pods", namespace, f"app=pg-shard-{shard},role=primary"):
        if inside.running(pod):
            return str(pod["metadata"]["name"])
    return None


def state(kubectl: Kubectl, namespace: str) -> State:
    """Raises EnvironmentFailure when shard 0 does not answer, or has no map yet."""
    return state_by(kubectl, namespace, _primary(kubectl, namespace, 0))


def state_by(kubectl: Kubectl, namespace: str, pod: str) -> State:
    """The same, asked of a pod that is shard 0's primary."""
    found = _answer(kubectl, namespace, pod, _STATE)
    if found["version"] is None:
        raise EnvironmentFailure("shard 0 has no bucket map yet", fix="headroom up brings the shards up")
    moves = tuple(Moving(**m) for m in found["moves"])
    return State(found["version"], tuple(found["owners"]), found["paused"], found["aborted"], found["working"], moves)


def shard(kubectl: Kubectl, namespace: str, number: int) -> Shard:
    """Raises EnvironmentFailure when the shard's primary does not answer."""
    return shard_by(kubectl, namespace, _primary(kubectl, namespace, number))


def shard_by(kubectl: Kubectl, namespace: str, pod: str) -> Shard:
    """The same, asked of a pod that is its primary."""
    found = _answer(kubectl, namespace, pod, _SHARD)
    return Shard(
        found["number"], found["version"] or 0, *(tuple(found[k]) for k in ("recorded", "writable", "streams"))
    )


def agreement(now: State, found: Shard) -> Agreement:
    """Whether map, record and fence of one shard say the same."""
    moving = {m.bucket for m in now.unfinished}
    mapped = (b for b, owner in enumerate(now.owners) if owner == found.number)
    mine, recorded, writable = (
        tuple(b for b in some if b not in moving) for some in (mapped, found.recorded, found.writable)
    )
    streams = {f"hr_b{bucket:03d}" for bucket in moving}
    orphans = tuple(s for s in found.streams if s.split()[1][: len("hr_b000")] not in streams)
    return Agreement(mine, recorded, writable, found.version == now.version or bool(moving), orphans)


def foresee(kubectl: Kubectl, plan: PostgresPlan) -> Foresight | None:
    """What `up` would move; None where nothing moves, or nothing runs yet that could be asked."""
    if kubectl.find("statefulset", "pg-shard-0", plan.namespace) is None:
        return None
    try:
        held = state(kubectl, plan.namespace).owners
        wanted = reassigned(held, plan.shards.value)
        moves = [(b, old, new) for b, (old, new) in enumerate(zip(held, wanted, strict=True)) if old != new]
        if not moves:
            return None
        sizes = {s: _ask(kubectl, plan.namespace, s, _SIZES) or {} for s in sorted({source for _, source, _ in moves})}
    except EnvironmentFailure:
        return None
    total = sum(int(sizes[source].get(str(bucket), 0)) for bucket, source, _ in moves)
    rate = min(plan.move_bytes_per_second.value or BYTES_PER_SECOND, BYTES_PER_SECOND)
    seconds = total / rate + SECONDS_A_BUCKET * len(moves) / plan.max_parallel_moves.value
    pairs = Counter((source, target) for _, source, target in moves)
    return Foresight(tuple(b for b, _, _ in moves), dict(sorted(pairs.items())), total, seconds)


def in_words(seen: Foresight) -> list[str]:
    """Lines for a person."""
    pairs = ", ".join(f"{count} from shard {a} to shard {b}" for (a, b), count in seen.pairs.items())
    about = f"{seen.seconds / 60:.0f} minutes" if seen.seconds >= 90 else f"{max(1, seen.seconds):.0f} seconds"
    return [
        f"{len(seen.buckets)} of 256 buckets move while clients read and write: {pairs}",
        f"{seen.bytes / 1e6:,.1f} MB with their indexes; about {about}, longer beside a heavy load",
        f"the buckets: {_ranges(seen.buckets)}",
    ]


def wish(kubectl: Kubectl, namespace: str, **wanted: bool) -> None:
    """Write down what a person wants of the mover: `paused`, `aborted`."""
    assigned = ", ".join(f"{name} = {str(value).lower()}" for name, value in wanted.items())
    pod = _primary(kubectl, namespace, 0)
    inside.sql(kubectl, namespace, pod, "features", f"UPDATE headroom.wish SET {assigned}")  # noqa: S608  our own words


def abort(kubectl: Kubectl, namespace: str) -> str:
    """Have moves stop: the mover takes back what has not come to its flip, or, where none works, that is done here.

    Returns what was done, in words. Raises InputError where there is nothing to abort.
    """
    now = state(kubectl, namespace)
    if not now.unfinished:
        raise InputError("no bucket is on its way", fix="headroom reshard status")
    if now.working:
        wish(kubectl, namespace, aborted=True)
        return "the mover is told: buckets that have not come to their flip go back, and its Job ends as failed"
    pod = _primary(kubectl, namespace, 0)
    command = ["/opt/patroni/bin/python", "-m", "shard.reshard", "abort"]
    done = kubectl.run("exec", "-n", namespace, pod, "-c", "keeper", "--", *command, timeout=ROLL_BACK_SECONDS)
    return done.stdout.strip().splitlines()[-1] if done.stdout.strip() else "done"


def _ask(kubectl: Kubectl, namespace: str, number: int, question: str) -> Any:
    return _answer(kubectl, namespace, _primary(kubectl, namespace, number), question)


def _answer(kubectl: Kubectl, namespace: str, pod: str, question: str) -> Any:
    answer = inside.sql(kubectl, namespace, pod, "features", question)
    try:
        return json.loads(answer or "null")
    except ValueError as error:
        raise EnvironmentFailure(f"{pod} says {answer[:80]!r}") from error


def _primary(kubectl: Kubectl, namespace: str, number: int) -> str:
    found = primary(kubectl, namespace, number)
    if found is None:
        raise EnvironmentFailure(
            f"shard {number} has no primary at this moment", fix="headroom verify says what is wrong with it"
        )
    return found


def _ranges(numbers: tuple[int, ...]) -> str:
    """`3, 7-9`."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
