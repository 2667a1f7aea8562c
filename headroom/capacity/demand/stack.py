"""A whole stack: everything that its stack file asks for."""

from __future__ import annotations

import re

from pydantic import Field, model_validator

from headroom.capacity.demand.base import Part
from headroom.capacity.demand.fields import Environment, Namespace, ServiceKey, Text
from headroom.capacity.demand.h2o import H2ODemand
from headroom.capacity.demand.images import ImagesDemand
from headroom.capacity.demand.monitoring import MonitoringDemand
from headroom.capacity.demand.nodes import NodesDemand
from headroom.capacity.demand.pgbouncer import PgBouncerDemand
from headroom.capacity.demand.postgres import PostgresDemand
from headroom.capacity.demand.prices import PricesDemand
from headroom.capacity.demand.problem import Problem
from headroom.capacity.demand.redis import RedisDemand
from headroom.capacity.demand.services import ServiceDemand
from headroom.capacity.parts import PARTS

COMPONENTS = frozenset({*PARTS, "total"})
# Names that the components give to their own objects; a service of that name would fight over them.
_TAKEN = re.compile(
    r"(?:pg-(?:shard|move|bootstrap)|h2o|redis|pgbouncer)-.*|pg-move|pg-bootstrap|default-deny|allow-dns"
)
# Secrets of the components: a service that could name one would hold an administrator's password.
_HIDDEN = re.compile(rf"(?:{'|'.join(PARTS)})-(?:passwords?|auth|login|client)(?:-.*)?")
# The account that each namespace has by itself, for pods that name none: what a service may do, they all could.
DEFAULT_ACCOUNT = "default"
# Where Prometheus is: a namespace of ours starts closed, which would cut it off, and its pods may scrape every part.
MONITORING = "monitoring"


class StackDemand(Part):
    """What one stack asks for. `stack` is its name; everything else is a key of its file."""

    stack: Text
    environment: Environment
    namespace: Namespace = "headroom"
    services: dict[ServiceKey, ServiceDemand] = Field(default_factory=dict)
    postgres: PostgresDemand | None = None
    pgbouncer: PgBouncerDemand | None = None
    redis: RedisDemand | None = None
    h2o: H2ODemand | None = None
    nodes: NodesDemand | None = None
    prices: PricesDemand = PricesDemand()
    images: ImagesDemand = ImagesDemand()
    monitoring: MonitoringDemand = MonitoringDemand()

    @model_validator(mode="after")
    def _fits_together(self) -> StackDemand:
        if self.pgbouncer is not None and self.postgres is None:
            raise Problem("there is no PostgreSQL behind it", fix="add headroom:postgres", at=("pgbouncer",))
        if self.namespace == MONITORING:
            raise Problem(
                "is where monitoring lives: what is in it is let in wherever monitoring is, and ours start closed",
                fix="a namespace of the stack's own",
                at=("namespace",),
            )
        for key, service in self.services.items():
            self._check_service(key, service)
        return self

    def _check_service(self, key: str, service: ServiceDemand) -> None:
        at = ("services", key)
        if key in COMPONENTS:
            raise Problem("is the name of a component, not of a service", fix=f"for example {key}-api", at=at)
        if key == DEFAULT_ACCOUNT:
            raise Problem("is the name of the account that every namespace has", fix="for example my-default", at=at)
        if _TAKEN.fullmatch(key):
            raise Problem("begins like the objects of a component", fix=f"for example my-{key}"[:80], at=at)
        if key.endswith("-canary") and self.services.get(key.removesuffix("-canary"), service).canary is not None:
            raise Problem("is the name of the other service's canary", fix="rename it", at=at)
        inside = self.services.get(key.removesuffix("-mesh"), service) if key.endswith("-mesh") else service
        if inside is not service and inside.preset == "inferadb":
            raise Problem("is the name that the other service's mesh gets where it is public", fix="rename it", at=at)
        self._check_secret(service, at)
        if service.namespace == MONITORING:
            raise Problem(
                "is where monitoring lives; a service in it would be let in wherever monitoring is",
                fix="a namespace of the service's own",
                at=(*at, "namespace"),
            )
        if service.maintenance and self.environment == "prod":
            raise Problem(
                "maintenance stops every pod, and this is prod",
                fix="remove it; roll changes out with the canary",
                at=(*at, "maintenance"),
            )

    def _check_secret(self, service: ServiceDemand, at: tuple[str, str]) -> None:
        held = {getattr(getattr(self, part), "existing_secret", None) for part in PARTS} - {None}
        name = service.existing_secret
        if name is not None and (name in held or _HIDDEN.fullmatch(name)):
            raise Problem(
                "is a Secret of the platform's own: its passwords would be in the service's environment",
                fix="a Secret that holds what this service needs and no more",
                at=(*at, "existingSecret"),
            )
