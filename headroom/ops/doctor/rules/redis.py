"""Redis: slots that nobody serves, leaders that are missing, replicas that do not follow, memory that is full."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from headroom.capacity.plan.model import Plan, RedisPlan
from headroom.ops.doctor.model import About, Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

FULL = 0.9


def slots(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Of a Cluster: slots without a master, or on their way between two."""
    redis, alive = plan.redis, _alive(seen)
    if redis is None or redis.mode != "cluster" or not alive:
        return
    total = max(int(r.get("slots", 0)) for r in alive)
    served = min(int(r.get("slots_ok", 0)) for r in alive)
    opened = [str(r["pod"]) for r in alive if r.get("open_slots")]
    failed = sorted({str(h) for r in alive for h in r.get("failed") or []})
    states = sorted({str(r.get("cluster_state")) for r in alive})
    if served < total or states != ["ok"]:
        yield _about(redis).finding(
            "slots-are-missing",
            f"serves {served:,} of {total:,} slots",
            "a master is lost with all its replicas" if failed else "slots were taken from a master and given to none",
            f"kubectl get pods,pvc -n {redis.namespace} -l app=redis (bring a lost master back); then "
            f"headroom up --stack {plan.stack}",
            evidence=(f"cluster_state {', '.join(states)}", *([f"gone: {', '.join(failed[:5])}"] if failed else [])),
        )
    if opened:
        yield _about(redis).finding(
            "slots-are-missing",
            f"has slots on their way at {', '.join(opened[:5])}",
            "a resize is under way, or stopped half-way: keys of these slots are answered with one redirection more",
            f"kubectl get jobs -n {redis.namespace}; headroom up --stack {plan.stack} goes on with it",
            severity=Severity.warning,
        )


def leadership(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Too few masters, or sentinels that cannot choose one."""
    redis, alive = plan.redis, _alive(seen)
    if redis is None or not alive:
        return
    leading = sorted(str(r["pod"]) for r in alive if r.get("role") == "master")
    wanted = redis.masters.value
    if len(leading) != wanted and not (redis.mode == "cluster" and len(leading) > wanted):
        yield _about(redis).finding(
            "redis-has-no-leader",
            f"has {len(leading)} masters, and {wanted} are planned",
            "a failover is under way (10 s), or the pods that could lead are not there",
            f"kubectl exec -n {redis.namespace} redis-0 -c redis -- redis-node report",
            evidence=(f"masters: {', '.join(leading) or 'none'}", f"{len(alive)} pods answer"),
        )
    if redis.mode != "sentinel":
        return
    told = {str(r["pod"]): r["sentinel"] for r in seen.redis if "sentinel" in r}
    agreeing = {pod for pod, s in told.items() if "error" not in s and str(s.get("quorum", "")).startswith("OK")}
    quorum = redis.quorum.value if redis.quorum else 2
    planned = redis.sentinels.value if redis.sentinels else 0
    if len(agreeing) < planned:
        lost = len(agreeing) < quorum
        others = [pod for n in range(planned) if (pod := f"redis-{n}") not in agreeing]
        yield _about(redis).finding(
            "redis-has-no-leader",
            f"{len(agreeing)} of {planned} sentinels agree on a quorum; not {', '.join(others[:5])}",
            "without a quorum of them nobody may take over from a master that fails"
            if lost
            else "one more lost sentinel, and nobody may take over from a master that fails",
            f"kubectl logs -n {redis.namespace} {others[0]} -c sentinel --tail 50",
            severity=Severity.error if lost else Severity.warning,
            evidence=tuple(
                f"{pod}: {said.get('error') or said.get('quorum')}" for pod in others if (said := told.get(pod))
            )[:3],
        )


def links(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Replicas that do not follow their master."""
    redis = plan.redis
    if redis is None:
        return
    down = [r for r in _alive(seen) if r.get("role") == "slave" and r.get("master_link_status") != "up"]
    if down:
        yield _about(redis).finding(
            "redis-replica-does-not-follow",
            f"{', '.join(str(r['pod']) for r in down[:5])}: no link to the master",
            "it copies the master's data at this moment, or cannot reach it; it cannot take over until then",
            f"kubectl logs -n {redis.namespace} {down[0]['pod']} -c redis --tail 50",
            evidence=tuple(
                f"{r['pod']} follows {r.get('master_host')}: {r.get('master_link_status')}" for r in down[:5]
            ),
        )


def memory(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """A store that does not evict is nearly full: soon it refuses writes."""
    redis = plan.redis
    if redis is None or redis.maxmemory_policy.value != "noeviction":
        return
    for report in _alive(seen):
        most = int(report.get("maxmemory") or 0)
        share = int(report.get("used_memory") or 0) / most if most else 0.0
        if share >= FULL:
            yield _about(redis).finding(
                "redis-is-full",
                f"{report['pod']} uses {share:.0%} of its maxmemory",
                "its policy is noeviction: full, it refuses writes (OOM command not allowed)",
                f"raise headroom:redis.demand.dataset; then headroom up --stack {plan.stack}",
                evidence=(f"planned: {redis.masters.because}",),
            )


def _alive(seen: Snapshot) -> list[Mapping[str, Any]]:
    return [r for r in seen.redis if "error" not in r]


def _about(redis: RedisPlan) -> About:
    return About("redis", f"redis in {redis.namespace}")
