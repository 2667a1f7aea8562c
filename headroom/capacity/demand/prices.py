"""What capacity costs, in US dollars."""

from __future__ import annotations

from pydantic import Field

from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import Price


class PricesDemand(Part):
    """A core for an hour, a GiB of memory for an hour, a GiB of volume for a month."""

    cpu_hour: Price | None = None
    memory_gib_hour: Price | None = Field(None, alias="memoryGiBHour")
    volume_gib_month: Price | None = Field(None, alias="volumeGiBMonth")
