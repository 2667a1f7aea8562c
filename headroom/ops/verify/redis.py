"""Redis: does exactly one lead, is there a quorum, are all slots served, do replicas follow, is there memory left?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from headroom.capacity.plan.model import RedisPlan
from headroom.errors import EnvironmentFailure
from headroom.ops import inside
from headroom.ops.verify.model import Finding, Scene, Verdict, judge

FULL = 0.9
"""Of `maxmemory`: beyond it a store that does not evict will soon refuse writes."""


def redis(scene: Scene) -> Iterator[Finding]:
    """Every pod is asked what it knows, with the program that its image brings."""
    plan = scene.plan.redis
    if plan is None:
        return
    if not scene.real_pods:
        yield Finding("redis", "nodes", Verdict.skipped, "no software runs in the pods of fake nodes")
        return
    count = plan.masters.value * (1 + plan.replicas_per_master.value)
    reports = [_report(scene, plan.namespace, f"redis-{n}") for n in range(count)]
    silent = [f"{r['pod']}: {r['error']}" for r in reports if "error" in r]
    yield judge(
        "redis",
        "nodes",
        not silent,
        f"{count - len(silent)} of {count} answer" + "".join(f"; {s}" for s in silent[:5]),
        f"kubectl logs -n {plan.namespace} redis-0 -c redis --tail 50",
    )
    alive = [r for r in reports if "error" not in r]
    yield _masters(plan, alive)
    yield from _sentinels(plan, reports) if plan.mode == "sentinel" else _slots(plan, alive)
    yield _links(plan, alive)
    yield _memory(plan, alive)


def _report(scene: Scene, namespace: str, pod: str) -> dict[str, Any]:
    try:
        return inside.redis(scene.kubectl, namespace, pod)
    except EnvironmentFailure as error:
        return {"pod": pod, "error": error.message[:120]}


def _masters(plan: RedisPlan, alive: Sequence[dict[str, Any]]) -> Finding:
    leading = sorted(r["pod"] for r in alive if r["role"] == "master")
    return judge(
        "redis",
        "masters",
        len(leading) == plan.masters.value,
        f"{len(leading)} of {plan.masters.value}: {', '.join(leading[:8])}",
        f"headroom up goes on with a resize; kubectl exec -n {plan.namespace} redis-0 -- redis-node report tells more",
    )


def _sentinels(plan: RedisPlan, reports: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    told = [r["sentinel"] for r in reports if "sentinel" in r]
    answering = [s for s in told if "error" not in s]
    chosen = {s["master"] for s in answering}
    leading = {r["pod"] for r in reports if r.get("role") == "master"}
    wanted = plan.sentinels.value if plan.sentinels else 0
    yield judge(
        "redis",
        "quorum",
        len(answering) == wanted and all(str(s["quorum"]).startswith("OK") for s in answering),
        f"{len(answering)} of {wanted} sentinels: " + "; ".join(sorted({str(s["quorum"]) for s in answering})),
        f"kubectl logs -n {plan.namespace} redis-0 -c sentinel --tail 50",
    )
    yield judge(
        "redis",
        "leader",
        len(chosen) == 1 and {host.partition(".")[0] for host in chosen} == leading,
        f"sentinels say {', '.join(sorted(chosen)) or 'nothing'}; {', '.join(sorted(leading)) or 'nobody'} leads",
        "wait 15 s for a failover that is under way, then look again",
    )


def _slots(plan: RedisPlan, alive: Sequence[dict[str, Any]]) -> Iterator[Finding]:
    states = {r["cluster_state"] for r in alive}
    least = min((r["slots_ok"] for r in alive), default=0)
    total = max((r["slots"] for r in alive), default=0)
    failed = sorted({host for r in alive for host in r["failed"]})
    yield judge(
        "redis",
        "cluster_state",
        states == {"ok"} and not failed,
        f"{', '.join(sorted(states)) or 'unknown'}" + (f"; gone: {', '.join(failed[:5])}" if failed else ""),
        f"kubectl get pods -n {plan.namespace} -l app=redis",
    )
    opened = [r["pod"] for r in alive if r["open_slots"]]
    yield judge(
        "redis",
        "slots",
        least == total > 0 and not opened,
        f"{least:,} of {total:,} served" + (f"; on their way at {', '.join(opened)}" if opened else ""),
        f"kubectl logs -n {plan.namespace} -l app=redis-resize --tail 50; the next `headroom up` goes on with a resize",
    )


def _links(plan: RedisPlan, alive: Sequence[dict[str, Any]]) -> Finding:
    replicas = [r for r in alive if r["role"] == "slave"]
    down = [r["pod"] for r in replicas if r["master_link_status"] != "up"]
    wanted = plan.masters.value * plan.replicas_per_master.value
    return judge(
        "redis",
        "replication",
        not down and len(replicas) == wanted,
        f"{len(replicas) - len(down)} of {wanted} replicas linked" + (f"; not {', '.join(down)}" if down else ""),
        f"kubectl logs -n {plan.namespace} {(down or ['redis-0'])[0]} -c redis --tail 50",
    )


def _memory(plan: RedisPlan, alive: Sequence[dict[str, Any]]) -> Finding:
    shares = {r["pod"]: int(r["used_memory"]) / int(r["maxmemory"]) for r in alive if int(r["maxmemory"] or 0)}
    fullest = max(shares, key=lambda pod: shares[pod], default="")
    evicts = plan.maxmemory_policy.value != "noeviction"
    said = f"{shares[fullest]:.0%} of maxmemory on {fullest}, the fullest" if shares else "unknown"
    return judge(
        "redis",
        "memory",
        bool(shares) and (evicts or shares[fullest] <= FULL),
        said + (f" ({plan.maxmemory_policy.value}: a full cache evicts)" if evicts else ""),
        "raise redis.demand.dataset in the stack file; mode cluster gets more masters by it",
    )
