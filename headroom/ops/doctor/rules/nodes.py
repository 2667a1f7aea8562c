"""Nodes that cannot run pods."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from headroom.ops.doctor import objects
from headroom.ops.doctor.model import Finding, Severity
from headroom.ops.doctor.snapshot import Snapshot

_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def unwell(seen: Snapshot, _: Plan) -> Iterator[Finding]:
    """Not ready, or under a pressure that keeps pods away or evicts them."""
    for node in seen.nodes:
        name = objects.name(node)
        said = objects.condition(node, "Ready")
        if said is None or said["status"] != "True":
            yield Finding(
                anchor="node-is-not-well",
                severity=Severity.error,
                component="cluster",
                subject=f"node {name}",
                symptom="is not ready",
                because="its kubelet does not report, so its pods are given up after five minutes",
                fix=f"kubectl describe node {name}",
                evidence=(f"Ready is {said['status']}: {said.get('message', '')}" if said else "no condition Ready",),
            )
        for kind in _PRESSURES:
            if objects.holds(node, kind):
                found = objects.condition(node, kind) or {}
                yield Finding(
                    anchor="node-is-not-well",
                    severity=Severity.error,
                    component="cluster",
                    subject=f"node {name}",
                    symptom=f"is under {kind}",
                    because="the kubelet evicts pods and takes no new ones until it is over",
                    fix=f"kubectl describe node {name}",
                    evidence=(str(found.get("message", "")),),
                )
