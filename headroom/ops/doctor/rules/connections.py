"""Connections that run out: clients at the pooler, servers at the shards."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

NEAR = 0.9
WAIT_SECONDS = 1.0
_WHO = "SELECT usename, client_addr, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC"


def pooler(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """PgBouncer has as many clients as it takes, or clients wait for a connection to a shard."""
    bouncers, postgres = plan.pgbouncer, plan.postgres
    if bouncers is None:
        return
    for node in seen.poolers:
        subject = f"pod {bouncers.namespace}/{node.pod}"
        if node.clients >= NEAR * node.max_client_conn:
            yield Finding(
                anchor="connections-are-used-up",
                severity=Severity.error,
                component="pgbouncer",
                subject=subject,
                symptom=f"has {node.clients:,} of the {node.max_client_conn:,} clients that it takes",
                because="more pods or larger pools connect than the plan counted; the next client is refused",
                fix="lower connectionsPerPod of the service that connects most, or raise "
                f"headroom:pgbouncer.maxClientConn; then headroom up --stack {plan.stack}",
                evidence=(f"planned: {bouncers.replicas.because}",),
            )
        if node.waiting and node.longest_wait_seconds >= WAIT_SECONDS:
            limit = f"default_pool_size {bouncers.default_pool_size.value}, reserve {bouncers.reserve_pool_size.value}"
            yield Finding(
                anchor="connections-are-used-up",
                severity=Severity.error,
                component="pgbouncer",
                subject=subject,
                symptom=f"lets {node.waiting:,} clients wait for a connection to a shard, the first for "
                f"{node.longest_wait_seconds:.0f} s",
                because=f"every connection of the pool is in a transaction ({limit}), or no primary answers: long "
                "transactions hold them",
                fix=f"kubectl exec -n {bouncers.namespace} {node.pod} -c pgbouncer -- psql -h /run/pgbouncer -p 6432 "
                '-U pgbouncer -d pgbouncer -c "SHOW POOLS"',
                evidence=(f"max_connections of a shard: {postgres.max_connections.value}",) if postgres else (),
            )


def databases(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A shard has next to no connection left."""
    postgres = plan.postgres
    if postgres is None:
        return
    for node in seen.postgres:
        if node.connections >= NEAR * node.max_connections:
            yield Finding(
                anchor="connections-are-used-up",
                severity=Severity.error,
                component="postgres",
                subject=f"pod {postgres.namespace}/{node.pod}",
                symptom=f"has {node.connections} of {node.max_connections} connections in use",
                because="somebody connects past PgBouncer, whose pools alone cannot use them up",
                fix=f"kubectl exec -n {postgres.namespace} {node.pod} -c postgres -- psql -U postgres -c '{_WHO}'",
                evidence=(f"planned: {postgres.max_connections.because}",),
            )
