"""What each namespace may hold: everything at its most, what rolling updates and Jobs add, and nothing beyond."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from headroom.capacity.plan.model import NamespacePlan, Sized
from headroom.capacity.plan.pods import JOB, PodGroup, Size, memory_bytes, millicores
from headroom.capacity.quantities import cpu_text, memory_text

LARGEST = "the largest container of the namespace"
DEFAULTS = {"cpuRequest": "100m", "memoryRequest": "128Mi", "cpuLimit": "500m", "memoryLimit": "512Mi"}


def plan_namespace(name: str, groups: Sequence[PodGroup], jobs: int) -> NamespacePlan:
    """A namespace's quota and limits; `jobs` Job pods may run beside its groups."""
    job = Size.of([JOB])
    pods = jobs + sum(g.most + g.extra for g in groups)
    cpu = jobs * job.cpu + sum(g.pod.cpu * (g.most + g.extra) for g in groups)
    memory = jobs * job.memory + sum(g.pod.memory * (g.most + g.extra) for g in groups)
    cpu_limit = jobs * job.cpu_limit + sum(g.pod.cpu_limit * (g.most + g.extra) for g in groups)
    memory_limit = jobs * job.memory_limit + sum(g.pod.memory_limit * (g.most + g.extra) for g in groups)
    terms = [f"{g.component} {g.most} + {g.extra}" for g in groups]
    shown = [*terms[:6], f"{len(terms) - 6} more"] if len(terms) > 7 else terms
    why = "; ".join([*shown, f"{jobs} Jobs"] if jobs else shown) + " (at most + surge and Jobs)"

    containers = [c for g in groups for c in g.containers] + [JOB]
    largest_cpu = max(millicores(c.cpu_limit.value) for c in containers)
    largest_memory = max(memory_bytes(c.memory_limit.value) for c in containers)

    def text(setting: str, value: str, because: str = why, bound: str = "maxReplicas") -> Sized[str]:
        return Sized(setting, value, "", because, bound)

    def default(setting: str) -> Sized[str]:
        return text(f"default.{setting}", DEFAULTS[setting], "for a container that says nothing", "default")

    return NamespacePlan(
        name=name,
        pods=Sized("pods", pods, "pods", why, "maxReplicas"),
        cpu_requests=text("requests.cpu", cpu_text(Fraction(cpu, 1000))),
        memory_requests=text("requests.memory", memory_text(memory)),
        cpu_limits=text("limits.cpu", cpu_text(Fraction(cpu_limit, 1000))),
        memory_limits=text("limits.memory", memory_text(memory_limit)),
        default_cpu_request=default("cpuRequest"),
        default_memory_request=default("memoryRequest"),
        default_cpu_limit=default("cpuLimit"),
        default_memory_limit=default("memoryLimit"),
        max_container_cpu=text("max.cpu", cpu_text(Fraction(largest_cpu, 1000)), LARGEST, "largest"),
        max_container_memory=text("max.memory", memory_text(largest_memory), LARGEST, "largest"),
    )
