"""Whether a cluster as it is now has room for more pods: nodes, and quotas that are not the stack's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from headroom.capacity.plan.pods import Size
from headroom.capacity.quantities import cpu_text, memory_text
from headroom.engine.quota import amount
from headroom.kubectl import Kubectl, Manifest

OWN_QUOTA = "headroom-quota"
"""The plan's own quota, which grows with the plan."""


@dataclass(frozen=True)
class Room:
    """What is free on one node: thousandths of a core, bytes, places for pods."""

    node: str
    cpu: int
    memory: int
    pods: int

    def fits(self, pod: Size) -> int:
        """How many such pods it can take."""
        by_cpu = self.cpu // pod.cpu if pod.cpu else self.pods
        by_memory = self.memory // pod.memory if pod.memory else self.pods
        return max(0, min(by_cpu, by_memory, self.pods))


def shortage(rooms: Sequence[Room], pod: Size, more: int) -> str:
    """Why `more` such pods find no place; empty when they do."""
    found = sum(room.fits(pod) for room in rooms)
    if found >= more:
        return ""
    free = max(rooms, key=lambda r: (r.fits(pod), r.cpu), default=None)
    most = (
        f"; the emptiest node, {free.node}, has {cpu_text(Fraction(max(0, free.cpu), _THOUSAND))} cores and "
        f"{memory_text(max(0, free.memory))} left"
        if free
        else ""
    )
    each = f"{cpu_text(Fraction(pod.cpu, _THOUSAND))} cores and {memory_text(pod.memory)}"
    return f"{more} more pods of {each} are asked for, and the nodes have room for {found}{most}"


def exceeded(quotas: Iterable[Manifest], pod: Size, more: int) -> list[str]:
    """The quotas that `more` such pods would break, each in words."""
    found = []
    added = _of_quota(pod, more)
    for quota in quotas:
        if quota["metadata"]["name"] == OWN_QUOTA:
            continue
        status = quota.get("status", {})
        for resource, limit in status.get("hard", {}).items():
            used = amount(resource, status.get("used", {}).get(resource, "0"))
            if resource in added and used + added[resource] > amount(resource, limit):
                found.append(
                    f"ResourceQuota {quota['metadata']['name']}: {resource} {limit}, of which "
                    f"{status.get('used', {}).get(resource, '0')} is used; {more} more pods go over it"
                )
    return found


def rooms(kubectl: Kubectl) -> list[Room]:
    """The room on every node that new pods may go to: allocatable, less what the pods there have requested."""
    used: dict[str, list[int]] = {}
    for pod in kubectl.get("pods", "--all-namespaces", "--field-selector", "status.phase!=Succeeded")["items"]:
        node = pod["spec"].get("nodeName")
        if node and pod.get("status", {}).get("phase") != "Failed":
            cpu, memory = requested(pod)
            sums = used.setdefault(node, [0, 0, 0])
            sums[0], sums[1], sums[2] = sums[0] + cpu, sums[1] + memory, sums[2] + 1
    return [_room(n, used.get(n["metadata"]["name"], [0, 0, 0])) for n in kubectl.get("nodes")["items"] if usable(n)]


def usable(node: Manifest) -> bool:
    """Whether a node takes new pods that tolerate nothing."""
    taints = node["spec"].get("taints") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node.get("status", {}).get("conditions", []))
    return ready and not node["spec"].get("unschedulable") and all(t["effect"] == "PreferNoSchedule" for t in taints)


def requested(pod: Manifest) -> tuple[int, int]:
    """Thousandths of a core and bytes that a pod requests: its containers together, or its largest start."""

    def asked(container: Manifest) -> tuple[int, int]:
        requests = container.get("resources", {}).get("requests", {})
        return amount("cpu", requests.get("cpu", "0")), amount("memory", requests.get("memory", "0"))

    together = [asked(c) for c in pod["spec"]["containers"]]
    starting = [asked(c) for c in pod["spec"].get("initContainers") or []]
    return (
        max(sum(c for c, _ in together), *(c for c, _ in starting), 0),
        max(sum(m for _, m in together), *(m for _, m in starting), 0),
    )


_THOUSAND = 1000


def _room(node: Manifest, used: Sequence[int]) -> Room:
    free = node["status"]["allocatable"]
    return Room(
        node["metadata"]["name"],
        amount("cpu", free["cpu"]) - used[0],
        amount("memory", free["memory"]) - used[1],
        int(free.get("pods", 110)) - used[2],
    )


def _of_quota(pod: Size, more: int) -> Mapping[str, int]:
    return {
        "pods": more,
        "count/pods": more,
        "cpu": more * pod.cpu,
        "requests.cpu": more * pod.cpu,
        "limits.cpu": more * pod.cpu_limit,
        "memory": more * pod.memory,
        "requests.memory": more * pod.memory,
        "limits.memory": more * pod.memory_limit,
    }
