"""Every pod of the stack's namespaces: does it start, stay, and keep to its limits?"""

from __future__ import annotations

from collections.abc import Iterator

from headroom.capacity.plan.model import Plan
from monitoring.model import Alert, Group, series


def group(plan: Plan) -> Group:
    return Group("workloads", tuple(alert for room in plan.namespaces for alert in _of(room.name)))


def _of(namespace: str) -> Iterator[Alert]:
    # Each is of one pod, which it names.
    labels = (("namespace", namespace),)
    restarts = series("kube_pod_container_status_restarts_total", namespace=namespace)
    yield Alert(
        "PodCrashLoops",
        f"increase({restarts}[15m]) > 3",
        1,
        "critical",
        "{{ $labels.pod }} does not stay up",
        "Its container {{ $labels.container }} ended {{ $value | humanize }} times in a quarter of an hour.",
        labels,
    )
    reason = series("kube_pod_container_status_last_terminated_reason", namespace=namespace, reason="OOMKilled")
    yield Alert(
        "PodOutOfMemory",
        f"{reason} == 1 and on (namespace, pod, container) increase({restarts}[10m]) > 0",
        0,
        "critical",
        "{{ $labels.pod }} was killed for its memory",
        "Its container {{ $labels.container }} went over its limit.",
        labels,
    )
    phase = series("kube_pod_status_phase", namespace=namespace, phase="Pending")
    yield Alert(
        "PodPending",
        f"{phase} == 1",
        10,
        "warning",
        "{{ $labels.pod }} does not start",
        "It has waited for ten minutes: for a node, a volume or its image.",
        labels,
    )
    # An H2O node fills its limit by design, and has an alert of its own.
    counted = 'container!="",pod!~"h2o-cluster-[0-9]+"'
    used = series("container_memory_working_set_bytes", counted, namespace=namespace)
    limit = series("kube_pod_container_resource_limits", namespace=namespace, resource="memory")
    grouped = "by (namespace, pod, container)"
    yield Alert(
        "ContainerMemoryNearLimit",
        f"max {grouped} ({used}) / max {grouped} ({limit}) > 0.9",
        10,
        "warning",
        "{{ $labels.pod }} is about to be killed for its memory",
        "Its container {{ $labels.container }} uses {{ $value | humanizePercentage }} of its limit.",
        labels,
    )
