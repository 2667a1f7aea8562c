"""The program: read the stack file, size it, deploy it."""

from __future__ import annotations

import pulumi

from components.h2o_cluster import H2OCluster, H2OClusterArgs
from components.links import Link
from components.monitoring import Monitoring, MonitoringArgs
from components.objects import register_backstop
from components.pgbouncer import PgBouncer, PgBouncerArgs
from components.platform_namespace import PlatformNamespace, PlatformNamespaceArgs
from components.redis.component import Redis, RedisArgs
from components.sharded_postgres import ShardedPostgres, ShardedPostgresArgs
from components.stack import cluster, configuration
from components.stateless_service import StatelessService, StatelessServiceArgs
from headroom.capacity import demand, plan
from headroom.errors import HeadroomError


def deploy() -> None:
    """Everything of the stack, each thing after what it needs."""
    register_backstop()

    config = configuration()
    asked = demand.from_config(pulumi.get_stack(), config)
    sized = plan.make(asked)
    for caution in sized.warnings:
        pulumi.log.warn(f"{caution.component}: {caution.message}")

    on_cluster = pulumi.ResourceOptions(provider=cluster())

    namespaces = {
        room.name: PlatformNamespace(room.name, PlatformNamespaceArgs(plan=room, stack=sized.stack), on_cluster)
        for room in sized.namespaces
    }

    inside = pulumi.ResourceOptions.merge(on_cluster, pulumi.ResourceOptions(depends_on=[namespaces[sized.namespace]]))
    links = {service.key: Link() for service in sized.services}

    if sized.postgres and sized.pgbouncer:
        postgres = ShardedPostgres(
            "postgres", ShardedPostgresArgs(sized.postgres, sized.images, sized.stack, sized.job, config), inside
        )
        pooler = PgBouncer(
            "pgbouncer",
            PgBouncerArgs(sized.pgbouncer, postgres, sized.images, sized.stack, config),
            pulumi.ResourceOptions.merge(inside, pulumi.ResourceOptions(depends_on=[postgres])),
        )
        links = {service.key: links[service.key] | pooler.link(service) for service in sized.services}
    if sized.redis:
        cache = Redis("redis", RedisArgs(sized.redis, sized.images, sized.stack, sized.job, config), inside)
        links = {service.key: links[service.key] | cache.link(service) for service in sized.services}
    if sized.h2o:
        H2OCluster("h2o", H2OClusterArgs(sized.h2o, sized.images, sized.stack, sized.job, config), inside)

    services = {
        service.key: StatelessService(
            service.key,
            StatelessServiceArgs(service, sized.images, sized.stack, links[service.key]),
            pulumi.ResourceOptions.merge(
                on_cluster,
                pulumi.ResourceOptions(depends_on=[namespaces[service.namespace], *links[service.key].after]),
            ),
        )
        for service in sized.services
    }

    if asked.monitoring.alerts or asked.monitoring.dashboards or asked.monitoring.scrape:
        Monitoring("monitoring", MonitoringArgs(asked, sized), inside)

    pulumi.export("namespace", sized.namespace)
    pulumi.export("services", {key: service.address for key, service in services.items()})
    pulumi.export(
        "plan", {f"{line.component}.{line.setting}": f"{line.value} {line.unit}".rstrip() for line in sized.lines}
    )


try:
    deploy()
except HeadroomError as error:
    # The CLI shows these words alone; of anything else it shows a traceback.
    raise pulumi.RunError(str(error)) from error
