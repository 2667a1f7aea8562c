"""What the databases, poolers, caches and H2O nodes say of themselves."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headroom.capacity.plan.model import Plan
from headroom.kubectl import Kubectl, Manifest
from headroom.ops import inside, reshard
from headroom.ops.doctor import objects
from headroom.ops.doctor.ask import Asked, Questions
from headroom.ops.doctor.snapshot import PoolerNode, PostgresNode, Snapshot, Standby

_POSTGRES = (
    "SELECT json_build_object("
    "'recovering', pg_is_in_recovery(), "
    "'paused', pg_is_in_recovery() AND pg_is_wal_replay_paused(), "
    "'connections', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
    "'max_connections', current_setting('max_connections')::int, "
    "'standbys', (SELECT coalesce(json_agg(json_build_array(application_name, state, sync_state, "
    "CASE WHEN pg_is_in_recovery() THEN 0 ELSE coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), 0) END) "
    "ORDER BY 1), '[]') FROM pg_stat_replication WHERE application_name LIKE 'pg-shard-%'))"
)


@dataclass
class Inner:
    """Questions to programs that are under way."""

    postgres: list[Asked[PostgresNode | None]] = field(default_factory=list)
    moves: list[Asked[reshard.State | None]] = field(default_factory=list)
    shards: list[Asked[reshard.Shard | None]] = field(default_factory=list)
    poolers: list[Asked[PoolerNode | None]] = field(default_factory=list)
    redis: list[Asked[Mapping[str, Any] | None]] = field(default_factory=list)
    h2o: list[Asked[Mapping[str, Any] | None]] = field(default_factory=list)

    def read(self) -> dict[str, Any]:
        """The answers, as fields of a snapshot."""
        return {
            name: tuple(a for q in getattr(self, name) if (a := q.value(None)) is not None)
            for name in ("postgres", "moves", "shards", "poolers", "redis", "h2o")
        }


def ask(kubectl: Kubectl, questions: Questions, seen: Snapshot, plan: Plan, only: str | None) -> Inner:
    """Begin to ask every pod of a part that runs; the others have findings of their own."""
    found = Inner()
    for pod in seen.pods:
        if not inside.running(pod):
            continue
        app, name, where = _app(pod), objects.name(pod), objects.namespace(pod)
        component = objects.component(pod)
        if only not in (None, component):
            continue
        subject = f"pod {name}"
        if app.startswith("pg-shard-") and _up(pod, "postgres"):
            shard = int(app.removeprefix("pg-shard-"))
            found.postgres.append(questions.ask("postgres", subject, _postgres, kubectl, where, name, shard))
            if (pod["metadata"].get("labels") or {}).get("role") == "primary":
                found.shards.append(questions.ask("postgres", subject, reshard.shard_by, kubectl, where, name))
                if shard == 0:
                    found.moves.append(questions.ask("postgres", subject, reshard.state_by, kubectl, where, name))
        elif app == "pgbouncer" and _up(pod, "pgbouncer") and plan.pgbouncer:
            most = plan.pgbouncer.max_client_conn.value
            found.poolers.append(questions.ask("pgbouncer", subject, _pooler, kubectl, where, name, most))
        elif app == "redis" and _up(pod, "redis"):
            found.redis.append(questions.ask("redis", subject, inside.redis, kubectl, where, name))
        elif app == "h2o-cluster" and _up(pod, "guard"):
            found.h2o.append(questions.ask("h2o", subject, inside.h2o, kubectl, where, name))
    return found


def _postgres(kubectl: Kubectl, namespace: str, pod: str, shard: int) -> PostgresNode:
    told = json.loads(inside.sql(kubectl, namespace, pod, "postgres", _POSTGRES))
    return PostgresNode(
        shard=shard,
        pod=pod,
        primary=not told["recovering"],
        paused=bool(told["paused"]),
        connections=int(told["connections"]),
        max_connections=int(told["max_connections"]),
        standbys=tuple(Standby(str(n), str(state), str(sync), int(b)) for n, state, sync, b in told["standbys"]),
    )


def _pooler(kubectl: Kubectl, namespace: str, pod: str, planned: int) -> PoolerNode:
    lists = {row[0]: row[1] for row in inside.pgbouncer(kubectl, namespace, pod, "SHOW LISTS")}
    config = {row[0]: row[1] for row in inside.pgbouncer(kubectl, namespace, pod, "SHOW CONFIG")}
    pools = inside.pgbouncer(kubectl, namespace, pod, "SHOW POOLS")
    waiting = [(int(row[3]), float(row[_MAXWAIT])) for row in pools if row[0] != "pgbouncer"]
    return PoolerNode(
        pod=pod,
        clients=int(lists["used_clients"]),
        max_client_conn=int(config.get("max_client_conn", planned)),
        waiting=sum(count for count, _ in waiting),
        longest_wait_seconds=max((wait for _, wait in waiting), default=0.0),
    )


# database, user, cl_active, cl_waiting, three of cancellation, six of servers, maxwait, maxwait_us, pool_mode
_MAXWAIT = -3


def _app(pod: Manifest) -> str:
    return str((pod["metadata"].get("labels") or {}).get("app") or "")


def _up(pod: Manifest, container: str) -> bool:
    return any(s["name"] == container and "running" in (s.get("state") or {}) for s in objects.containers(pod))
