"""PgBouncer: one address for every shard, a database each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi

from components.access import account, disruption_budget
from components.links import Link
from components.metadata import Identity
from components.objects import KubernetesObject, Manifest, child_options
from components.passwords import passwords, secret
from components.postgres import access
from components.postgres.pooler import CONFIG, METRICS_PORT, configuration, deployment_spec, exporter
from components.postgres.settings import POOLER_PORT as PORT
from components.sharded_postgres import MAP_FOLDER, ShardedPostgres
from headroom.capacity.plan.model import ImagesPlan, PgBouncerPlan, ServicePlan

SETTINGS = "pgbouncer-config"


@dataclass(frozen=True)
class PgBouncerArgs:
    """The plan, the shards behind it, and the stack's configuration (for the password)."""

    plan: PgBouncerPlan
    postgres: ShardedPostgres
    images: ImagesPlan
    stack: str
    config: Mapping[str, Any]


class PgBouncer(pulumi.ComponentResource):
    """A Deployment with its configuration, password, account and rights, Service, NetworkPolicy, disruption budget."""

    address: str
    """`postgresql://features@pgbouncer.<namespace>.svc:6432/features`; clients of several shards add `_<shard>`."""

    def __init__(self, name: str, args: PgBouncerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("headroom:components:PgBouncer", name, None, opts)
        self._name, self._args, self._plan = name, args, args.plan
        plan, shards = args.plan, args.postgres.shards
        self._owner = owner = Identity(
            name="pgbouncer",
            namespace=plan.namespace,
            stack=args.stack,
            component="pooler",
        )
        self._child = child_options(self, opts)

        needed = [*self._settings(), *self._rights(), *self._network()]
        deployment = self._object(
            "deployment",
            "apps/v1",
            "Deployment",
            owner.metadata(why=(plan.replicas, *_sizes(plan)), image=plan.image),
            {
                "spec": deployment_spec(
                    plan,
                    owner,
                    images=args.images,
                    settings=SETTINGS,
                    password=self._secret,
                    shards=shards,
                )
            },
            pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=needed)),
        )
        least = plan.min_available
        if least is not None:
            after = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[deployment]))
            disruption_budget(f"{name}-pdb", owner, {"minAvailable": least.value}, least, after)
        self.address = f"postgresql://features@pgbouncer.{plan.namespace}.svc:{PORT}/features"
        self.register_outputs({"address": self.address})

    def link(self, service: ServicePlan) -> Link:
        """What a service needs to reach the shards; nothing for one that has no connections, or lives elsewhere."""
        if not service.connections_per_pod.value:
            return Link()
        if service.namespace != self._plan.namespace:
            pulumi.log.warn(
                f"{service.key}: it is in namespace {service.namespace} and the passwords are in "
                f"{self._plan.namespace}, so it is not connected to PostgreSQL"
            )
            return Link()
        return Link(
            settings={
                "DATABASE_URL": self.address,
                "SHARD_MAP": f"{MAP_FOLDER}/map.json",
                # SCRAM proves the server, too; libpq before 16 does not read it.
                "PGREQUIREAUTH": "scram-sha-256",
            },
            secrets={"PGPASSWORD": self._args.postgres.client_password},
            files={MAP_FOLDER: self._args.postgres.shard_map},
            after=(self,),
        )

    def _settings(self) -> list[KubernetesObject]:
        plan, owner = self._plan, self._owner
        data = {CONFIG: configuration(plan, self._args.postgres.shards), "exporter.yaml": exporter()}
        why = (
            plan.max_client_conn,
            plan.default_pool_size,
            plan.reserve_pool_size,
            plan.max_db_connections,
        )
        made = [
            self._object(
                "config", "v1", "ConfigMap", owner.metadata(SETTINGS, why=why), {"data": data}, self._child
            )
        ]  # fmt: skip
        if plan.existing_secret:
            self._secret = plan.existing_secret
            return made
        self._secret = "pgbouncer-password"  # noqa: S105  a name
        values = passwords(self._args.config, ["pgbouncerAuth"])
        return [*made, secret(f"{self._name}-password", owner, self._secret, values, self._child)]

    def _rights(self) -> list[KubernetesObject]:
        """It learns from EndpointSlices which pod is a shard's primary."""
        rules = [{"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]}]
        return account(self._name, self._owner, rules, self._child)

    def _network(self) -> list[KubernetesObject]:
        owner = self._owner
        service = {
            "selector": owner.selector(),
            "ports": [{"name": "postgres", "port": PORT, "targetPort": "postgres", "protocol": "TCP"}],
        }
        policy = access.pooler_policy(owner, PORT, METRICS_PORT, self._args.postgres.api_servers)
        skip = {"pulumi.com/skipAwait": "true"}
        return [
            self._object("service", "v1", "Service", owner.metadata(annotations=skip), {"spec": service}, self._child),
            self._object(
                "network-policy", "networking.k8s.io/v1", "NetworkPolicy", owner.metadata(),
                {"spec": policy}, self._child,
            ),
        ]  # fmt: skip

    def _object(
        self,
        logical: str,
        api_version: str,
        kind: str,
        metadata: Manifest,
        body: Manifest,
        opts: pulumi.ResourceOptions,
    ) -> KubernetesObject:
        return KubernetesObject(f"{self._name}-{logical}", api_version, kind, metadata, body, opts)


def _sizes(plan: PgBouncerPlan) -> tuple[Any, ...]:
    size = plan.resources
    return size.cpu_request, size.cpu_limit, size.memory_request, size.memory_limit
