"""The H2O cluster: one whole cloud of the planned size, one leader behind the Service, its lock, its heap.

All of it comes from the guards beside the nodes: H2O's own API wants the password, and only the leader serves it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headroom.capacity.plan.model import H2OPlan
from headroom.capacity.quantities import GI
from headroom.errors import EnvironmentFailure
from headroom.ops import inside
from headroom.ops.verify.model import Finding, Scene, Verdict, judge

FULL = 0.9
"""The share of the heap above which H2O begins to fail jobs; frames want four times their size while they are used."""


def cloud(scene: Scene) -> Iterator[Finding]:
    """Size, health, leader, lock and heap of the cloud."""
    plan = scene.plan.h2o
    if plan is None:
        return
    if not scene.real_pods:
        yield Finding("h2o", "cloud", Verdict.skipped, "no software runs in the pods of fake nodes")
        return
    told = [_ask(scene, plan, number) for number in range(plan.nodes.value)]
    logs = f"kubectl logs -n {plan.namespace} -l app.kubernetes.io/name=h2o-cluster -c guard --tail 20"
    whole = [t for t in told if t.get("view") == "whole"]
    clouds = {frozenset(t.get("together", ())) for t in told}
    evidence = f"{len(whole)} of {plan.nodes.value} planned nodes are in a whole cloud"
    evidence += "" if len(clouds) == 1 else f", of {len(clouds)} different ones"
    yield judge("h2o", "cloud", len(whole) == plan.nodes.value and len(clouds) == 1, evidence, logs)
    yield _leader(scene, plan)
    facts = next((t["cloud"] for t in told if t.get("cloud")), None)
    if facts is None:
        yield judge("h2o", "health", False, "no node says that it leads a cloud", logs)
    else:
        yield from _of_cloud(plan, facts, logs)


def _of_cloud(plan: H2OPlan, facts: dict[str, Any], logs: str) -> Iterator[Finding]:
    healthy = bool(facts["healthy"]) and facts["size"] == plan.nodes.value
    words = "healthy" if facts["healthy"] else "not healthy"
    yield judge("h2o", "health", healthy, f"H2O counts {facts['size']} nodes, {words}", logs)
    # Either is well: a locked cloud is one that has worked. It tells whether a lost node costs anything.
    locked = "locked: it has worked, and takes no more nodes" if facts["locked"] else "open: no job has run in it yet"
    yield judge("h2o", "lock", True, locked)
    share = facts["heap_used"] / facts["heap"] if facts["heap"] else 1.0
    yield judge(
        "h2o",
        "heap",
        share < FULL,
        f"{facts['heap_used'] / GI:.1f} of {facts['heap'] / GI:.1f} GiB in use ({share:.0%}), "
        f"frames and models {facts['data'] / GI:.1f} GiB",
        "remove frames that nobody needs (h2o.remove), or raise h2o.demand.dataset and `headroom up`",
    )


def _leader(scene: Scene, plan: H2OPlan) -> Finding:
    slices = scene.kubectl.items("endpointslices", plan.namespace, "kubernetes.io/service-name=h2o")
    ready = [e for s in slices for e in s.get("endpoints") or [] if e.get("conditions", {}).get("ready")]
    return judge(
        "h2o",
        "leader",
        len(ready) == 1,
        f"the Service h2o has {len(ready)} node{'s' * (len(ready) != 1)} behind it, which must be the leader alone",
        f"kubectl get pods -n {plan.namespace} -L headroom.dev/h2o-role",
    )


def _ask(scene: Scene, plan: H2OPlan, number: int) -> dict[str, Any]:
    try:
        return inside.h2o(scene.kubectl, plan.namespace, f"h2o-cluster-{number}")
    except EnvironmentFailure:
        return {}
