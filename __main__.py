"""The program: read the stack file, size it, deploy it."""

from __future__ import annotations

import pulumi

from components.objects import register_backstop
from components.platform_namespace import PlatformNamespace, PlatformNamespaceArgs
from components.stack import cluster, configuration
from components.stateless_service import StatelessService, StatelessServiceArgs
from headroom.capacity import demand, plan

register_backstop()

sized = plan.make(demand.from_config(pulumi.get_stack(), configuration()))
for caution in sized.warnings:
    pulumi.log.warn(f"{caution.component}: {caution.message}")

on_cluster = pulumi.ResourceOptions(provider=cluster())

namespaces = {
    room.name: PlatformNamespace(room.name, PlatformNamespaceArgs(plan=room, stack=sized.stack), on_cluster)
    for room in sized.namespaces
}

services = {
    service.key: StatelessService(
        service.key,
        StatelessServiceArgs(plan=service, images=sized.images, stack=sized.stack),
        pulumi.ResourceOptions.merge(on_cluster, pulumi.ResourceOptions(depends_on=[namespaces[service.namespace]])),
    )
    for service in sized.services
}

pulumi.export("namespace", sized.namespace)
pulumi.export("services", {key: service.address for key, service in services.items()})
pulumi.export(
    "plan", {f"{line.component}.{line.setting}": f"{line.value} {line.unit}".rstrip() for line in sized.lines}
)
