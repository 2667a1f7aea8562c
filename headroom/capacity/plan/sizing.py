"""Small tools that every part of the plan uses: a number with its reason, growth, overrides, and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from headroom.capacity.demand.overrides import Override
from headroom.capacity.demand.problem import PREFIX
from headroom.capacity.plan.model import Resources, Sized
from headroom.capacity.quantities import Number, cpu_text, figure, memory_text, volume_text
from headroom.errors import InputError

T = TypeVar("T")

MOST_PODS = 100_000
"""Kubernetes itself is tested to 150,000 pods a cluster."""


def refusal(path: str, rule: str, fix: str) -> InputError:
    """The error for a demand that no size can meet; `path` is the key below `headroom:`."""
    return InputError(f"{PREFIX}{path} {rule}", fix=fix)


def given_or(setting: str, given: T | None, default: T, unit: str = "", *, key: str, why: str = "") -> Sized[T]:
    """A value that the stack file gives, else its default, which is then a line of the plan like any other."""
    if given is not None:
        return Sized(setting, given, unit, f"given in {key}", "given")
    return Sized(setting, default, unit, why or f"default where {key} is silent", "default")


def growth_factor(growth: Decimal | None, months: int) -> Fraction:
    """(1 + growth)^(months / 12); exact for whole years."""
    if not growth or not months:
        return Fraction(1)
    if months % 12 == 0:
        return Fraction(1 + growth) ** (months // 12)
    return Fraction((1 + growth) ** (Decimal(months) / 12))


def grown(value: Decimal | int, growth: Decimal | None, months: int) -> Fraction:
    """A demand in `months` months."""
    return Fraction(value) * growth_factor(growth, months)


def overridden(computed: Sized[int], overrides: Mapping[str, Override]) -> Sized[int]:
    """The person's count in place of the computed one, with their reason."""
    found = overrides.get(computed.setting)
    if found is None:
        return computed
    because = f"{found.because} (computed: {figure(computed.value)})"
    return Sized(computed.setting, int(found.value), computed.unit, because, "override")


def overridden_bytes(computed: Sized[str], overrides: Mapping[str, Override], *, volume: bool = False) -> Sized[str]:
    """The same for a quantity."""
    found = overrides.get(computed.setting)
    if found is None:
        return computed
    text = volume_text(found.value) if volume else memory_text(found.value)
    return Sized(computed.setting, text, "", f"{found.because} (computed: {computed.value})", "override")


def resources(
    where: str,
    cpu: Sized[Decimal],
    memory: Sized[int],
    cpu_limit: Decimal | None,
    memory_limit: int | None,
    *,
    memory_factor: int = 2,
    cpu_factor: int = 2,
) -> Resources:
    """Requests as sized; limits as given, else a multiple of the requests. Refuses a limit under its request."""
    cpu_most = Fraction(cpu_limit) if cpu_limit is not None else Fraction(cpu.value) * cpu_factor
    memory_most = memory_limit if memory_limit is not None else memory.value * memory_factor
    if cpu_most < cpu.value:
        raise refusal(
            f"{where}.limits.cpu",
            f"is {cpu_text(cpu_most)}, below the request of {cpu_text(cpu.value)}",
            f"at least {cpu_text(cpu.value)}",
        )
    if memory_most < memory.value:
        raise refusal(
            f"{where}.limits.memory",
            f"is {memory_text(memory_most)}, below the request of {memory_text(memory.value)}",
            f"at least {memory_text(memory.value)}",
        )
    return Resources(
        cpu_request=Sized("cpuRequest", cpu_text(cpu.value), "", cpu.because, cpu.bound_by),
        cpu_limit=_limit("cpuLimit", cpu_text(cpu_most), cpu_text(cpu.value), cpu_factor, cpu_limit is not None),
        memory_request=Sized("memoryRequest", memory_text(memory.value), "", memory.because, memory.bound_by),
        memory_limit=_limit(
            "memoryLimit", memory_text(memory_most), memory_text(memory.value), memory_factor, memory_limit is not None
        ),
    )


def _limit(setting: str, text: str, request: str, factor: int, given: bool) -> Sized[str]:
    if given:
        return Sized(setting, text, "", "given in limits", "given")
    if factor == 1:
        return Sized(setting, text, "", f"the request, {request}: sized from it, so it must be there", "request")
    return Sized(setting, text, "", f"{factor} × the request of {request}", "request")


def small(cpu: str, memory: str, cpu_limit: str, memory_limit: str, what: str) -> Resources:
    """What a helper container asks for; these do not grow with the demand."""

    def size(setting: str, value: str) -> Sized[str]:
        return Sized(setting, value, "", what, "default")

    return Resources(
        size("cpuRequest", cpu),
        size("cpuLimit", cpu_limit),
        size("memoryRequest", memory),
        size("memoryLimit", memory_limit),
    )


def checked_pods(path: str, count: int, asked: Number) -> int:
    """A count of pods that a cluster can have. Refuses one that no cluster can."""
    if count > MOST_PODS:
        raise refusal(
            path,
            f"asks for {figure(asked)}, which takes {figure(count)} pods; no cluster runs more than {MOST_PODS:,}",
            "ask for less, or give larger pods",
        )
    return count
