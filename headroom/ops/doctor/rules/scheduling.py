"""Pods that no node takes, told from the scheduler's own words."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from decimal import Decimal

from headroom.capacity.plan.model import Plan
from headroom.capacity.quantities import GI, figure
from headroom.kubectl import Manifest
from headroom.ops.diff.quantity import number
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

NONE = Decimal(0)
_SHORT_OF = re.compile(r"Insufficient ([\w./-]+)|Too many pods")
_CLAIM = re.compile(r"PersistentVolumeClaim|persistentvolumeclaim|volume node affinity", re.IGNORECASE)


def pending(seen: Snapshot, plan: Plan) -> Iterator[Finding]:
    """Pods that wait for a node, those of one component with one reason together."""
    groups: dict[tuple[str, str], list[Manifest]] = defaultdict(list)
    for pod in objects.living(seen):
        said = objects.condition(pod, "PodScheduled")
        if said and said["status"] == "False" and said.get("reason") == "Unschedulable":
            groups[objects.component(pod), " ".join(said.get("message", "").split())].append(pod)
    for (component, words), pods in groups.items():
        if _SHORT_OF.search(words):
            yield _capacity(seen, plan, component, words, pods)
        elif not _CLAIM.search(words):
            yield _fit(plan, component, words, pods)


def _capacity(seen: Snapshot, plan: Plan, component: str, words: str, pods: Sequence[Manifest]) -> Finding:
    pod = pods[0]
    cpu = sum((number(q) or NONE for q in objects.asked(pod, "cpu")), NONE)
    memory = sum((number(q) or NONE for q in objects.asked(pod, "memory")), NONE)
    room = [n.get("status", {}).get("allocatable") or {} for n in seen.nodes]
    largest = max((number(r.get("cpu")) or NONE for r in room), default=NONE)
    most = max((number(r.get("memory")) or NONE for r in room), default=NONE)
    asks = f"{figure(cpu)} cores and {figure(memory / GI, 1)} GiB"
    too_large = cpu > largest or memory > most
    if too_large:
        because = f"no node is large enough: the pod asks for {asks}"
        fix = f"lower its cpu or memory in the stack file, or add larger nodes; then headroom up --stack {plan.stack}"
    else:
        because = f"every node is full: the pod asks for {asks}, and what is left on each is less"
        fix = "add a node; what takes the room: kubectl describe nodes"
    return Finding(
        anchor="no-room-for-a-pod",
        severity=Severity.error,
        component=component,
        subject=f"pod {objects.listed(map(objects.place, pods))}",
        symptom="waits for a node with room",
        because=because,
        fix=fix,
        evidence=(words, f"the largest node gives pods {figure(largest)} cores and {figure(most / GI, 1)} GiB"),
    )


def _fit(plan: Plan, component: str, words: str, pods: Sequence[Manifest]) -> Finding:
    spec = pods[0]["spec"]
    wants = [f"nodeSelector {k}={v}" for k, v in sorted((spec.get("nodeSelector") or {}).items())]
    wants += [f"affinity: {', '.join(spec['affinity'])}"] if spec.get("affinity") else []
    if "taint" in words or "unschedulable" in words:
        because = "the nodes are cordoned, or have a taint that the pod does not tolerate"
        fix = "kubectl uncordon NODE, or: kubectl taint nodes NODE KEY-; taints: kubectl describe nodes | grep Taints"
    elif "topology spread" in words:
        because = "a place on any node with room would leave the pods more uneven than their spread allows"
        fix = "bring nodes back in the zone that lacks them: kubectl get nodes -L topology.kubernetes.io/zone"
    else:
        because = "no node has the labels that the pod asks for, or other pods keep it away"
        fix = "kubectl get nodes --show-labels; then label a node, or take the rule away and headroom up --stack " + (
            plan.stack
        )
    return Finding(
        anchor="no-node-fits-a-pod",
        severity=Severity.error,
        component=component,
        subject=f"pod {objects.listed(map(objects.place, pods))}",
        symptom="waits for a node that it may run on",
        because=because,
        fix=fix,
        evidence=(words, *wants),
    )
