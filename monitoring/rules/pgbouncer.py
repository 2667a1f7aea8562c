"""PgBouncer: clients that wait, and connections that run out."""

from __future__ import annotations

from headroom.capacity.plan.model import Plan
from monitoring.model import Alert, Group, pods, quoted, series

PATTERN = "pgbouncer-[a-z0-9]+-[a-z0-9]+"
NEAR = 0.8


def group(plan: Plan) -> Group:
    sized = plan.pgbouncer
    if sized is None:
        return Group("pgbouncer", ())

    def of(name: str) -> str:
        return series(f"pgbouncer_{name}", pods(PATTERN), namespace=sized.namespace)

    clients, servers = sized.max_client_conn.value, sized.max_db_connections.value
    client_connections = f"{of('pools_client_active_connections')} + {of('pools_client_waiting_connections')}"
    return Group(
        "pgbouncer",
        (
            Alert(
                "PgBouncerDown",
                f"(sum({of('up')}) or vector(0)) < {sized.replicas.value}",
                5,
                "critical",
                "a PgBouncer does not answer",
                f"{{{{ $value }}}} of {sized.replicas.value} answer ({quoted(sized.replicas.because)}).",
            ),
            Alert(
                "PgBouncerClientsWait",
                f"max({of('pools_client_maxwait_seconds')}) > 1",
                2,
                "warning",
                "clients wait for a connection to PostgreSQL",
                "The longest has waited for {{ $value | humanizeDuration }}.",
            ),
            Alert(
                "PgBouncerClientsNearLimit",
                f"max(sum by (pod) ({client_connections})) > {NEAR * clients:g}",
                5,
                "warning",
                "a PgBouncer is about to refuse clients",
                f"It has {{{{ $value }}}} of max_client_conn {clients} ({quoted(sized.max_client_conn.because)}).",
            ),
            Alert(
                "PgBouncerServersNearLimit",
                f"max({of('databases_database_current_connections')}) >= {servers}",
                10,
                "warning",
                "a pool uses all of its connections to PostgreSQL",
                f"It has had max_db_connections {servers} for ten minutes "
                f"({quoted(sized.max_db_connections.because)}).",
            ),
        ),
    )
