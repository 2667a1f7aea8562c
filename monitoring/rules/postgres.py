"""PostgreSQL, from what Patroni says of each member on its REST port."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan, PostgresPlan
from monitoring.model import Alert, Group, quoted, series

LAG_BYTES = 64 * 2**20
"""Four WAL segments: a standby that far behind is not keeping up, and takes that long to take over."""


def group(plan: Plan) -> Group:
    sized = plan.postgres
    if sized is None:
        return Group("postgres", ())
    return Group("postgres", tuple(alert for n in range(sized.shards.value) for alert in _of(sized, f"pg-shard-{n}")))


def _of(plan: PostgresPlan, shard: str) -> Iterator[Alert]:
    labels = (("shard", shard),)
    copies = plan.replication_factor.value

    def of(name: str) -> str:
        return series(f"patroni_{name}", namespace=plan.namespace, scope=shard)

    yield Alert(
        "PostgresNoPrimary",
        f"(sum({of('primary')}) or vector(0)) < 1",
        1,
        "critical",
        f"{shard} has no primary",
        "Nothing can be written to it. A failover takes seconds; this has lasted for longer.",
        labels,
    )
    yield Alert(
        "PostgresTwoPrimaries",
        f"sum({of('primary')}) > 1",
        1,
        "critical",
        f"{shard} has two primaries",
        "{{ $value }} members say that they lead. Patroni lets only one hold the lease.",
        labels,
    )
    yield Alert(
        "PostgresCopiesMissing",
        f"(sum({of('postgres_running')}) or vector(0)) < {copies}",
        5,
        "critical",
        f"{shard} has fewer running copies than planned",
        f"{{{{ $value }}}} of {copies} run ({quoted(plan.replication_factor.because)}).",
        labels,
    )
    yield Alert(
        "PatroniCannotReachKubernetes",
        f"time() - min({of('dcs_last_seen')}) > 60",
        2,
        "critical",
        f"a member of {shard} has lost its cluster's state",
        "It last reached the Kubernetes API {{ $value | humanizeDuration }} ago; a primary without it steps down.",
        labels,
    )
    yield Alert(
        "PostgresPendingRestart",
        f"max({of('pending_restart')}) == 1",
        30,
        "warning",
        f"{shard} waits for a restart",
        "A changed setting is not in force before it: patronictl restart, the replica first.",
        labels,
    )
    yield Alert(
        "PatroniPaused",
        f"max({of('is_paused')}) == 1",
        30,
        "warning",
        f"Patroni leaves {shard} alone",
        "While it is paused, nobody takes over from a primary that fails.",
        labels,
    )
    if copies < 2:
        return
    yield Alert(
        "PostgresNoSynchronousStandby",
        f"(sum({of('sync_standby')}) or vector(0)) < 1",
        5,
        "critical",
        f"{shard} has no synchronous standby",
        "A loss of the primary now would lose acknowledged writes, or writes wait.",
        labels,
    )
    replayed = f"{of('xlog_replayed_location')} and on (namespace, pod) {of('replica')} == 1"
    yield Alert(
        "PostgresReplicationLag",
        f"max(max by (scope) ({of('xlog_location')}) - on (scope) group_right () ({replayed})) > {LAG_BYTES}",
        5,
        "warning",
        f"a replica of {shard} falls behind",
        "It is {{ $value | humanize1024 }}B behind the primary.",
        labels,
    )
