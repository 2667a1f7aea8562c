"""What the plan costs a month, from what its pods request and its volumes hold."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

from headroom.capacity.demand.prices import PricesDemand
from headroom.capacity.plan.model import H2OPlan, Sized
from headroom.capacity.plan.pods import PodGroup
from headroom.capacity.plan.sizing import given_or
from headroom.capacity.quantities import GI, figure, octets

HOURS_A_MONTH = 730
CPU_HOUR = Decimal("0.035")
MEMORY_GIB_HOUR = Decimal("0.0045")
VOLUME_GIB_MONTH = Decimal("0.08")


def prices(demand: PricesDemand) -> tuple[Sized[Decimal], Sized[Decimal], Sized[Decimal]]:
    """US dollars for a core-hour, a GiB-hour of memory and a GiB-month of volume."""
    return (
        given_or("cpuHour", demand.cpu_hour, CPU_HOUR, "USD", key="prices.cpuHour"),
        given_or("memoryGiBHour", demand.memory_gib_hour, MEMORY_GIB_HOUR, "USD", key="prices.memoryGiBHour"),
        given_or("volumeGiBMonth", demand.volume_gib_month, VOLUME_GIB_MONTH, "USD", key="prices.volumeGiBMonth"),
    )


def monthly(
    setting: str,
    groups: Iterable[PodGroup],
    h2o: H2OPlan | None,
    price: tuple[Sized[Decimal], Sized[Decimal], Sized[Decimal]],
    *,
    at_most: bool,
) -> Sized[Decimal]:
    """The cost of every group at its fewest or its most pods; an S3 export is not a volume."""
    milli = memory_bytes = volume_bytes = 0
    for group in groups:
        count = group.most if at_most else group.least
        milli += count * group.pod.cpu
        memory_bytes += count * group.pod.memory
        volume_bytes += count * group.volume
    if h2o and h2o.export_s3 is None:
        volume_bytes += octets(h2o.export_volume_size.value)
    cpu, memory, volume = Fraction(milli, 1000), Fraction(memory_bytes, GI), Fraction(volume_bytes, GI)
    each = [Fraction(p.value) for p in price]
    exact = (cpu * each[0] + memory * each[1]) * HOURS_A_MONTH + volume * each[2]
    value = (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(Decimal("0.01"), ROUND_HALF_UP)
    why = f"({figure(cpu)} cores × ${price[0].value} + {figure(memory)} GiB × ${price[1].value}) × {HOURS_A_MONTH} h + "
    why += f"{figure(volume)} GiB of volumes × ${price[2].value}"
    return Sized(setting, value, "USD", why, "maxReplicas" if at_most else "minReplicas")
