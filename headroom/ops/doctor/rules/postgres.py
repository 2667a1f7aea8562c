"""PostgreSQL: one primary a shard, and standbys that follow it closely."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan, PostgresPlan
from headroom.ops.doctor.model import About, Finding
from headroom.ops.doctor.snapshot import PostgresNode, Snapshot
from headroom.ops.verify.postgres import LARGEST_LAG_BYTES

_LONG = (
    "SELECT pid, state, now() - query_start AS runs, left(query, 60) FROM pg_stat_activity WHERE state <> 'idle' "
    "ORDER BY 3 DESC NULLS LAST"
)


def leadership(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """No primary takes writes, or two believe that they may."""
    postgres = plan.postgres
    if postgres is None or not seen.postgres:
        return
    for number in range(postgres.shards.value):
        nodes = [n for n in seen.postgres if n.shard == number]
        primaries = [n.pod for n in nodes if n.primary]
        if len(primaries) == 1 or not nodes:
            continue
        yield _about(postgres, number).finding(
            "shard-has-no-primary",
            f"has {len(primaries) or 'no'} primaries"
            + (f": {', '.join(primaries)}" if primaries else ", so nothing can be written"),
            "Patroni is choosing a new one (20 s and more), or no standby has every acknowledged commit"
            if not primaries
            else "one of both has not noticed yet that it lost the lock; its commits are not acknowledged",
            _patronictl(postgres, nodes[0].pod, "list"),
            evidence=tuple(f"{n.pod}: {'primary' if n.primary else 'standby'}" for n in nodes),
        )


def replication(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A standby is away, replays nothing, or is far behind."""
    postgres = plan.postgres
    if postgres is None:
        return
    for node in seen.postgres:
        if node.paused:
            yield _about(postgres, node.shard).finding(
                "replication-lags",
                f"{node.pod} receives and does not replay",
                "somebody paused replay on it: readers see old rows, and a switchover waits for all of it",
                f"kubectl exec -n {postgres.namespace} {node.pod} -c postgres -- psql -U postgres -c "
                '"SELECT pg_wal_replay_resume()"',
                evidence=_behind(seen, node.shard),
            )
        if node.primary:
            yield from _standbys(seen, postgres, node)


def _standbys(seen: Snapshot, postgres: PostgresPlan, primary: PostgresNode) -> Iterator[Finding]:
    wanted = postgres.replication_factor.value - 1
    streaming = [s for s in primary.standbys if s.state == "streaming"]
    paused = {n.pod for n in seen.postgres if n.paused}
    if len(streaming) < wanted:
        yield _about(postgres, primary.shard).finding(
            "standby-does-not-follow",
            f"{len(streaming)} of {wanted} standbys stream from {primary.pod}",
            "a standby is down, copies the data anew, or cannot reach its primary; until then a second failure loses "
            "what only the primary has",
            f"kubectl logs -n {postgres.namespace} -l app=pg-shard-{primary.shard} -c postgres --tail 30",
            evidence=_behind(seen, primary.shard) or ("no standby is connected",),
        )
    for standby in streaming:
        if standby.behind > LARGEST_LAG_BYTES and standby.pod not in paused:
            yield _about(postgres, primary.shard).finding(
                "replication-lags",
                f"{standby.pod} is {standby.behind / 2**20:,.0f} MiB behind",
                "it replays more slowly than the primary writes: its disk or CPU is short, or a long query on it holds "
                "replay up",
                f'kubectl exec -n {postgres.namespace} {standby.pod} -c postgres -- psql -U postgres -c "{_LONG}"',
                evidence=_behind(seen, primary.shard),
            )


def _behind(seen: Snapshot, shard: int) -> tuple[str, ...]:
    every = [s for n in seen.postgres if n.shard == shard and n.primary for s in n.standbys]
    return tuple(f"{s.pod}: {s.state}, {s.sync}, {s.behind:,} bytes behind" for s in every)


def _patronictl(postgres: PostgresPlan, pod: str, command: str) -> str:
    return (
        f"kubectl exec -n {postgres.namespace} {pod} -c postgres -- patronictl -c /run/headroom/patroni.yaml {command}"
    )


def _about(postgres: PostgresPlan, shard: int) -> About:
    return About("postgres", f"shard {postgres.namespace}/pg-shard-{shard}")
