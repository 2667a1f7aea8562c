"""Where container images come from."""

from __future__ import annotations

from typing import Literal

from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import Image, ObjectName


class ImagesDemand(Part):
    """How pods get images, and the images of the parts; those of services are in the services."""

    pull_policy: Literal["IfNotPresent", "Always", "Never"] = "IfNotPresent"
    pull_secrets: tuple[ObjectName, ...] = ()
    postgres: Image | None = None
    pgbouncer: Image | None = None
    redis: Image | None = None
    h2o: Image | None = None
