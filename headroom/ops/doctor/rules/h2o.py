"""The H2O cloud: short of nodes, locked against those that would join, or out of heap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from headroom.capacity.plan.model import H2OPlan, Plan
from headroom.capacity.quantities import GI
from headroom.ops.doctor.model import About, Finding
from headroom.ops.doctor.snapshot import Snapshot
from headroom.ops.verify.h2o import FULL


def cloud(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Fewer nodes than planned; and whether a node that comes would be taken in."""
    h2o = plan.h2o
    if h2o is None or not seen.real_pods or not seen.h2o:
        return
    wanted, facts = h2o.nodes.value, _facts(seen)
    size = int(facts["size"]) if facts else sum(t.get("view") == "whole" for t in seen.h2o)
    if size >= wanted:
        return
    told = tuple(f"{t.get('pod')}: {t.get('phase')}, {t.get('view')}" for t in seen.h2o)
    if facts and facts["locked"]:
        yield _about(h2o).finding(
            "h2o-is-locked",
            f"is a cloud of {size}, and {wanted} nodes are planned; it is locked and takes no more in",
            "H2O takes nobody into a cloud that has worked: only a new cloud has more nodes",
            f"headroom up --stack {plan.stack} (saves frames and models, makes the cloud anew, loads them again)",
            evidence=told,
        )
        return
    yield _about(h2o).finding(
        "h2o-is-short",
        f"is a cloud of {size}, and {wanted} nodes are planned",
        "a node or its pod is lost, or starts: the guards let all nodes begin together, and memory is gone with a node"
        if len(seen.h2o) < wanted or not facts
        else "a node has not joined yet",
        f"kubectl get pods -n {h2o.namespace} -l app=h2o-cluster; kubectl logs -n {h2o.namespace} "
        "-l app=h2o-cluster -c guard --tail 20",
        evidence=told,
    )


def heap(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """So little heap is left that jobs begin to fail."""
    facts = _facts(seen)
    if plan.h2o is None or not facts or not facts["heap"]:
        return
    share = facts["heap_used"] / facts["heap"]
    if share >= FULL:
        yield _about(plan.h2o).finding(
            "h2o-heap-is-full",
            f"uses {share:.0%} of its heap",
            "frames want about four times their size while they are worked on",
            f"remove frames that nobody needs (h2o.remove); or raise headroom:h2o.demand.dataset and headroom up "
            f"--stack {plan.stack}",
            evidence=(
                f"{facts['heap_used'] / GI:.1f} of {facts['heap'] / GI:.1f} GiB, frames and models "
                f"{facts['data'] / GI:.1f} GiB",
            ),
        )


def _facts(seen: Snapshot) -> Mapping[str, Any] | None:
    return next((t["cloud"] for t in seen.h2o if t.get("cloud")), None)


def _about(h2o: H2OPlan) -> About:
    return About("h2o", f"h2o in {h2o.namespace}")
