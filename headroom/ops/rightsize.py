"""Requests and limits of a service from what its pods used, as an edit of its stack file.

Requests are the 95th percentile of use over the window and limits the 99th, each of the pod that used most; a memory
limit is never under the peak, because a container over it is killed, not slowed down. The source is the cluster's
Prometheus with cAdvisor's series (`container_cpu_usage_seconds_total`, `container_memory_working_set_bytes`).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isfinite
from pathlib import Path

from headroom.capacity.plan import Plan
from headroom.capacity.plan.model import ServicePlan
from headroom.capacity.quantities import MI, cpu_text, memory_text
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.ops import prometheus, splice
from headroom.ops.draft import SERVICES, Draft
from headroom.ops.prometheus import Prometheus

REQUEST, LIMIT = 0.95, 0.99
CPU_STEP_MILLI = 10
MEMORY_STEP: int = 16 * MI
LEAST_MEMORY: int = 32 * MI


@dataclass(frozen=True)
class Window:
    """Over which use is looked at, and how much of it must have been seen, both seconds."""

    seconds: int = 7 * 86400
    least: int = 86400

    @property
    def step(self) -> int:
        """Between two values that are looked at: a minute, less for windows of an hour and below."""
        return max(15, min(60, self.seconds // 60))

    @property
    def rate(self) -> int:
        """Over which CPU seconds become cores: four scrapes of a minute, two of half a minute in short windows."""
        return 240 if self.seconds >= 4 * 3600 else 60


@dataclass(frozen=True)
class Use:
    """What the busiest pod used: cores and bytes; `seconds` of the window in which there was a value at all."""

    cpu_p95: float
    cpu_p99: float
    memory_p95: float
    memory_p99: float
    memory_peak: float
    pods: int
    seconds: float


@dataclass(frozen=True)
class Sizes:
    """Quantities of Kubernetes."""

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str


@dataclass(frozen=True)
class Proposal:
    """What was used, what the stack file has and what it could have, and what that costs (USD a month)."""

    service: str
    use: Use
    now: Sizes
    sizes: Sizes
    draft: Draft
    before: Plan
    after: Plan

    @property
    def nothing(self) -> bool:
        """Whether the stack file says so already."""
        return self.draft.before == self.draft.after

    def diff(self) -> list[str]:
        """The edit as `diff -u` writes it."""
        name = self.draft.file.name
        old, new = self.draft.before.splitlines(), self.draft.after.splitlines()
        return list(difflib.unified_diff(old, new, name, f"{name} (rightsized)", n=2, lineterm=""))

    def bill(self) -> list[tuple[str, float, float]]:
        """Words, before and after: at the fewest and the most pods."""
        old, new = self.before, self.after
        return [
            ("at minimum replicas", float(old.monthly_cost_at_min.value), float(new.monthly_cost_at_min.value)),
            ("at maximum replicas", float(old.monthly_cost_at_max.value), float(new.monthly_cost_at_max.value)),
        ]


def propose(kubectl: Kubectl, stack: str, file: Path, service: str, window: Window) -> Proposal:
    """Look at the use of a service and make the edit, writing nothing.

    Raises InputError for a service that the stack has not, one sized by a tier, or sizes that the plan refuses;
    EnvironmentFailure where there is no Prometheus, or too little data, with how much there is.
    """
    before, planned = check(stack, file, service)
    used = use(kubectl, prometheus.find(kubectl), planned, window)
    sizes = sized(used)
    draft = Draft.of(stack, file, lambda text: edited(text, service, sizes))
    return Proposal(service, used, _now(planned), sizes, draft, before, draft.plan())


def check(stack: str, file: Path, service: str) -> tuple[Plan, ServicePlan]:
    """The plan as it is, and that of the service. Raises InputError for a service whose sizes cannot be set."""
    untouched = Draft.of(stack, file, lambda text: text)
    plan = untouched.plan()
    planned = find(plan, service)
    if untouched.demand().services[service].tier is not None:
        raise InputError(
            f"service {service!r} takes its sizes from a tier, which has no place for others",
            fix="replace tier by a profile (rpsPerPod, cpu, memory): headroom load measures it",
        )
    return plan, planned


def find(plan: Plan, service: str) -> ServicePlan:
    """The plan of a service. Raises InputError with the services that there are."""
    found = next((s for s in plan.services if s.key == service), None)
    if found is None:
        keys = ", ".join(s.key for s in plan.services) or "(none)"
        raise InputError(f"stack {plan.stack} has no service {service!r}", fix=f"choose one of {keys}")
    return found


def sized(used: Use) -> Sizes:
    """Rounded up: CPU to 10 thousandths of a core, memory to 16 Mi. A limit is never under its request."""
    steps = (ceil(round(cores * 1000 / CPU_STEP_MILLI, 6)) for cores in (used.cpu_p95, used.cpu_p99))
    cpu, top = (max(1, n) * CPU_STEP_MILLI for n in steps)
    memory, most = (_rounded(b) for b in (used.memory_p95, max(used.memory_p99, used.memory_peak)))
    return Sizes(
        cpu_text(_cores(cpu)), cpu_text(_cores(max(cpu, top))), memory_text(memory), memory_text(max(memory, most))
    )


def edited(text: str, service: str, sizes: Sizes) -> str:
    """The stack file's text with these sizes in `profile` and `limits`. Overrides of the same go: they would win."""
    path = (*SERVICES, service)
    wanted = (
        (("profile", "cpu"), sizes.cpu_request),
        (("profile", "memory"), sizes.memory_request),
        (("limits", "cpu"), sizes.cpu_limit),
        (("limits", "memory"), sizes.memory_limit),
    )
    for place, value in wanted:
        if str(splice.get(text, (*path, *place))) != value:
            text = splice.put(text, (*path, *place), value)
    for setting in ("cpuRequest", "memoryRequest"):
        text = splice.drop(text, (*path, "override", setting))
    return text


def use(kubectl: Kubectl, found: Prometheus, service: ServicePlan, window: Window) -> Use:
    """Ask Prometheus. Raises EnvironmentFailure for too little data, saying how much there is."""
    chosen = f'namespace="{service.namespace}",pod=~"{service.key}-[a-z0-9]+-[a-z0-9]+",container="{service.key}"'
    memory = f"container_memory_working_set_bytes{{{chosen}}}"
    cpu = f"sum by (pod) (rate(container_cpu_usage_seconds_total{{{chosen}}}[{window.rate}s]))"
    span = f"[{window.seconds}s:{window.step}s]"
    over = f"max by (pod) ({memory})"

    def ask(query: str) -> float:
        value = prometheus.value(prometheus.ask(kubectl, found, query))
        return value if value is not None and isfinite(value) else 0.0

    seen = ask(f"count_over_time((count({memory})){span})") * window.step
    pods = int(ask(f"count(count by (pod) (count_over_time({memory}[{window.seconds}s])))"))
    if seen < window.least:
        raise EnvironmentFailure(
            f"too little data on {service.key}: {in_words(seen)} of use by {pods} pods in the last "
            f"{in_words(window.seconds)}, and {in_words(window.least)} are needed",
            fix="wait until it has run through a busy day; or take less with --least, knowing that it is less",
        )
    return Use(
        cpu_p95=ask(f"max(quantile_over_time({REQUEST}, {cpu}{span}))"),
        cpu_p99=ask(f"max(quantile_over_time({LIMIT}, {cpu}{span}))"),
        memory_p95=ask(f"max(quantile_over_time({REQUEST}, {over}{span}))"),
        memory_p99=ask(f"max(quantile_over_time({LIMIT}, {over}{span}))"),
        memory_peak=ask(f"max(max_over_time({memory}[{window.seconds}s]))"),
        pods=pods,
        seconds=min(seen, window.seconds),
    )


def _now(planned: ServicePlan) -> Sizes:
    size = planned.resources
    return Sizes(size.cpu_request.value, size.cpu_limit.value, size.memory_request.value, size.memory_limit.value)


def _rounded(count: float) -> int:
    return max(LEAST_MEMORY, ceil(count / MEMORY_STEP) * MEMORY_STEP)


def _cores(milli: int) -> Fraction:
    return Fraction(milli, 1000)


def in_words(seconds: float) -> str:
    """`7 days`, `1.5 hours`."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"
