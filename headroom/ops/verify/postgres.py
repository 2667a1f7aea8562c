"""PostgreSQL and PgBouncer: one primary a shard, standbys that follow, limits in force.

Everything is asked inside the pods, over sockets that need no password: no secret is read, and none can be printed.
"""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import PostgresPlan
from headroom.capacity.quantities import MI, figure
from headroom.errors import EnvironmentFailure
from headroom.ops import inside
from headroom.ops.verify.model import Finding, Scene, Verdict, judge

LARGEST_LAG_BYTES = 16 * MI
"""A WAL segment; a synchronous standby is well below it."""
_STANDBYS = (
    "SELECT application_name, state, sync_state, "
    "coalesce(pg_wal_lsn_diff(pg_current_wal_lsn(), replay_lsn), -1)::bigint "
    "FROM pg_stat_replication WHERE application_name LIKE 'pg-shard-%' ORDER BY 1"
)


def shards(scene: Scene) -> Iterator[Finding]:
    """Each shard has one primary, and its standbys stream from it, one of them synchronously."""
    plan = scene.plan.postgres
    if plan is None:
        return
    for number in range(plan.shards.value):
        name = f"pg-shard-{number}"
        if not scene.real_pods:
            yield Finding(name, "one primary", Verdict.skipped, "no software runs in the pods of fake nodes")
            continue
        primaries = _primaries(scene, plan, name)
        yield judge(
            name,
            "one primary",
            len(primaries) == 1,
            f"primary: {', '.join(primaries) or 'none'}",
            f"kubectl exec -n {plan.namespace} {name}-0 -c postgres -- patronictl -c /run/headroom/patroni.yaml list",
        )
        if len(primaries) == 1:
            yield _replication(scene, plan, name, primaries[0])


def pooler(scene: Scene) -> Iterator[Finding]:
    """Every PgBouncer runs with the plan's limits and has a database for each shard."""
    plan, postgres = scene.plan.pgbouncer, scene.plan.postgres
    if plan is None or postgres is None:
        return
    if not scene.real_pods:
        yield Finding("pgbouncer", "limits", Verdict.skipped, "no software runs in the pods of fake nodes")
        return
    pods = [p for p in scene.kubectl.items("pods", plan.namespace, "app=pgbouncer") if inside.running(p)]
    names = {f"features_{number}" for number in range(postgres.shards.value)}
    names |= {"features"} if postgres.shards.value == 1 else set()
    if not pods:
        yield judge("pgbouncer", "limits", False, "no pod runs", f"headroom up --stack {scene.plan.stack}")
    for pod in pods:
        name = pod["metadata"]["name"]
        try:
            config = dict(row[:2] for row in inside.pgbouncer(scene.kubectl, plan.namespace, name, "SHOW CONFIG"))
            databases = inside.pgbouncer(scene.kubectl, plan.namespace, name, "SHOW DATABASES")
            served = {row[0] for row in databases} - {"pgbouncer"}
        except EnvironmentFailure as error:
            yield judge(
                name, "limits", False, str(error)[:200], f"kubectl logs -n {plan.namespace} {name} -c pgbouncer"
            )
            continue
        sizes = (plan.max_client_conn, plan.default_pool_size, plan.reserve_pool_size, plan.max_db_connections)
        off = [
            f"{s.setting} is {config.get(s.setting)}, planned {s.value}"
            for s in sizes
            if config.get(s.setting) != str(s.value)
        ]
        off += [f"database {database} differs" for database in sorted(served ^ names)]
        yield judge(
            name,
            "limits",
            not off,
            "; ".join(off) or f"{figure(plan.max_client_conn.value)} clients, {len(names)} databases, as planned",
            "a change takes a minute to arrive; else kubectl logs -c warden of that pod",
        )


def _replication(scene: Scene, plan: PostgresPlan, name: str, primary: str) -> Finding:
    wanted = plan.replication_factor.value - 1
    logs = f"kubectl logs -n {plan.namespace} -l app={name} -c postgres --tail 30"
    try:
        told = inside.sql(scene.kubectl, plan.namespace, primary, "postgres", _STANDBYS)
    except EnvironmentFailure as error:  # it has just led; the other shards are asked all the same
        return judge(name, "replication", False, error.message[:200], logs)
    rows = [line.split("|") for line in told.splitlines() if line]
    streaming = [r for r in rows if r[1] == "streaming"]
    in_step = [r for r in streaming if r[2] in ("sync", "quorum")]
    lag = max((int(r[3]) for r in streaming), default=0)
    said = ", ".join(f"{pod} {state} {sync}, {int(behind):,} bytes behind" for pod, state, sync, behind in rows)
    return judge(
        name,
        "replication",
        len(streaming) == wanted and (not wanted or bool(in_step)) and lag <= LARGEST_LAG_BYTES,
        said or ("no standby, and none is planned" if not wanted else f"no standby follows, {wanted} planned"),
        logs,
    )


def _primaries(scene: Scene, plan: PostgresPlan, name: str) -> list[str]:
    """The pods of a shard whose PostgreSQL takes writes, by its own word."""
    found = []
    for pod in scene.kubectl.items("pods", plan.namespace, f"app={name}"):
        if not inside.running(pod):
            continue
        try:
            recovering = inside.sql(
                scene.kubectl, plan.namespace, pod["metadata"]["name"], "postgres", "SELECT pg_is_in_recovery()"
            )
        except EnvironmentFailure:
            continue  # it does not run; `pods` says so
        if recovering == "f":
            found.append(str(pod["metadata"]["name"]))
    return sorted(found)
