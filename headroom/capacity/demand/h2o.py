"""What the H2O cluster is asked to hold in memory."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import Cpu, Dataset, Flag, Growth, Memory, Networks, ObjectName, S3Prefix
from headroom.capacity.demand.overrides import H2OOverrides
from headroom.capacity.demand.services import Limits


class Frames(Part):
    """The data that is in memory at once, as it is on disk; `growth` is a year's."""

    dataset: Dataset
    growth: Growth | None = None


class H2ONode(Part):
    """One node's container. Requests equal limits; `limits.cpu` alone may be set apart, for a small machine."""

    memory: Memory | None = None
    cpu: Cpu | None = None
    limits: Limits | None = None


class ExportVolume(Part):
    """Where frames go around a resize: a volume that every node can mount, or S3."""

    size: Dataset | None = None
    storage_class: ObjectName | None = None
    s3: S3Prefix | None = None


class H2ODemand(Part):
    """The H2O cluster. `api_servers` are the networks in which the cluster's API server is, where they are known."""

    demand: Frames | None = None
    node: H2ONode = H2ONode()
    xgboost: Flag = False
    discovery: Literal["dns", "flatfile"] = "dns"
    export_volume: ExportVolume = ExportVolume()
    existing_secret: ObjectName | None = None
    api_servers: Networks = ()
    override: H2OOverrides = Field(default_factory=dict)
