"""Sharded PostgreSQL: a StatefulSet a shard under Patroni, a map that gives every bucket of keys a shard, and the Jobs
that bring running shards to what the stack says and buckets to the shards that there are."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from components.access import account, disruption_budget
from components.metadata import Identity, content_hash
from components.objects import KubernetesObject, Manifest, child_options
from components.passwords import fingerprint, passwords, secret
from components.pods import SecretKey
from components.postgres import access, jobs, settings
from components.postgres.shard import claim_name, stateful_set_spec
from headroom.capacity.plan.model import ImagesPlan, PostgresPlan, Resources

SECRETS = ("postgresSuperuser", "postgresReplication", "postgresRewind", "postgresApp", "pgbouncerAuth")
MAP_FOLDER = "/etc/headroom/map"


@dataclass(frozen=True)
class ShardedPostgresArgs:
    """The plan, the stack's configuration (for its passwords), and what one container of a Job asks for."""

    plan: PostgresPlan
    images: ImagesPlan
    stack: str
    job: Resources
    config: Mapping[str, Any]


class ShardedPostgres(pulumi.ComponentResource):
    """Shards with their claims, Services, rights and budgets; passwords, settings and the bucket map; the Job."""

    shards: int
    client_password: SecretKey
    """The services' own. Its Secret is named by its content: another password rolls their pods."""
    shard_map: str
    """The ConfigMap with the bucket map, `map.json`."""
    api_servers: tuple[str, ...]
    """Networks of the API server, which the pods talk to; empty where they are not known."""

    def __init__(self, name: str, args: ShardedPostgresArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("headroom:components:ShardedPostgres", name, None, opts)
        self._name, self._args, self._plan = name, args, args.plan
        self._child = child_options(self, opts)
        self.shards, self.api_servers = args.plan.shards.value, args.plan.api_servers
        self._owner = self._identity("postgres", "configuration")
        self.shard_map = "shard-map"

        self._secret, shared = self._shared()
        sets = [s for number in range(self._plan.shards.value) for s in self._shard(number, shared)]
        self._map(self._move(self._bootstrap([*sets, *shared])))
        self.register_outputs({"shards": self.shards})

    def _shared(self) -> tuple[str, list[KubernetesObject]]:
        plan, owner = self._plan, self._owner
        why = (*plan.parameters.values(), plan.max_connections)
        dynamic = json.dumps(settings.dynamic(plan), indent=1, sort_keys=True)
        made = [
            self._object(
                "settings", "v1", "ConfigMap", owner.metadata("postgres-settings", why=why),
                {"data": {"settings.json": dynamic}}, self._child,
            ),
        ]  # fmt: skip
        if plan.existing_secret:
            self.client_password = SecretKey(plan.existing_secret, "postgresApp")
            return plan.existing_secret, made
        values = passwords(self._args.config, SECRETS)
        client = {"postgresApp": values["postgresApp"]}
        self.client_password = SecretKey(f"postgres-client-{fingerprint(client)}", "postgresApp")
        made.append(secret(f"{self._name}-client", owner, self.client_password.secret, client, self._child))
        made.append(secret(f"{self._name}-passwords", owner, "postgres-passwords", values, self._child))
        return "postgres-passwords", made

    def _shard(self, number: int, shared: list[KubernetesObject]) -> list[KubernetesObject]:
        plan, copies = self._plan, self._plan.replication_factor.value
        owner = self._identity(f"pg-shard-{number}", "database")
        key = f"shard-{number}"
        needed = [*shared, *self._account(key, owner, access.role_rules(owner, copies))]
        for state in access.STATES:
            # Patroni writes annotations, which we do not name and so leave alone.
            options = self._kept(self._child) if state in access.KEPT_STATES else self._child
            metadata = owner.metadata(f"{owner.name}-{state}")
            needed.append(self._object(f"{key}-{state}", "v1", "ConfigMap", metadata, {}, options))
        for copy in range(copies):
            # A claim may wait for its first pod.
            metadata = owner.metadata(
                claim_name(owner, copy), why=(plan.volume_size,), annotations={"pulumi.com/skipAwait": "true"}
            )
            spec: Manifest = {
                "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": plan.volume_size.value}},
                **({"storageClassName": plan.storage_class} if plan.storage_class else {}),
            }
            options = self._kept(self._child)
            needed.append(
                self._object(f"{key}-claim-{copy}", "v1", "PersistentVolumeClaim", metadata, {"spec": spec}, options)
            )
        needed += self._network(key, owner)
        stateful_set = self._object(
            f"{key}-set",
            "apps/v1",
            "StatefulSet",
            owner.metadata(why=(plan.replication_factor, *_sizes(plan.resources)), image=plan.image),
            {
                "spec": stateful_set_spec(
                    plan, owner, images=self._args.images, passwords=self._secret, settings="postgres-settings"
                )
            },
            self._after(needed),
        )
        least = plan.min_available
        if least is not None:
            disruption_budget(
                f"{self._name}-{key}-pdb", owner, {"minAvailable": least.value}, least, self._after([stateful_set])
            )
        return [stateful_set]

    def _network(self, key: str, owner: Identity) -> list[KubernetesObject]:
        """Services wait for nothing: who is primary is known only once the pods run."""
        port = [{"name": "postgres", "port": settings.PORT, "targetPort": "postgres", "protocol": "TCP"}]
        rest = [{"name": "patroni", "port": settings.REST_PORT, "targetPort": "patroni", "protocol": "TCP"}]
        services: dict[str, tuple[Manifest, dict[str, str]]] = {
            owner.name: ({"selector": {**owner.selector(), "role": "primary"}, "ports": port}, {LEADS_TO: "primary"}),
            f"{owner.name}-ro": (
                {"selector": {**owner.selector(), "role": "replica"}, "ports": port},
                {LEADS_TO: "replica"},
            ),
            f"{owner.name}-pods": (
                {
                    "clusterIP": "None",
                    # Members find each other before they are ready.
                    "publishNotReadyAddresses": True,
                    "selector": owner.selector(),
                    "ports": [*port, *rest],
                },
                {},
            ),
        }
        made = []
        for service, (spec, labels) in services.items():
            metadata = owner.metadata(service, annotations={"pulumi.com/skipAwait": "true"})
            metadata["labels"] = {**metadata["labels"], **labels}
            logical = f"{key}-service{service.removeprefix(owner.name)}"
            made.append(self._object(logical, "v1", "Service", metadata, {"spec": spec}, self._child))
        policy = access.shard_policy(owner, self._plan.api_servers)
        made.append(
            self._object(
                f"{key}-network-policy",
                "networking.k8s.io/v1",
                "NetworkPolicy",
                owner.metadata(),
                {"spec": policy},
                self._child,
            )
        )
        return made

    def _bootstrap(self, needed: list[KubernetesObject]) -> KubernetesObject:
        """A Job is what it was made for, for ever: another content is another Job, the same one does not run again."""
        plan = self._plan
        owner = self._identity(access.BOOTSTRAP, "bootstrap")
        policy = self._object(
            "bootstrap-network-policy", "networking.k8s.io/v1", "NetworkPolicy", owner.metadata(),
            {"spec": access.bootstrap_policy(owner)}, self._child,
        )  # fmt: skip
        spec = jobs.bootstrap(plan, owner, self._args.images, self._args.job, passwords=self._secret)
        content = {
            "settings": json.dumps(settings.dynamic(plan), sort_keys=True),
            "spec": json.dumps(spec, sort_keys=True),
        }
        metadata = owner.metadata(f"{access.BOOTSTRAP}-{content_hash(content)}", image=plan.image)
        after = self._after([*needed, *self._account("bootstrap", owner), policy])
        return self._object("bootstrap", "batch/v1", "Job", metadata, {"spec": spec}, after)

    def _move(self, bootstrap: KubernetesObject) -> KubernetesObject:
        """Buckets to the shards that are wanted: to those that came, which run by now, and from those that go, which
        run until everything else is done."""
        plan = self._plan
        owner = self._identity(access.MOVE, "mover")
        policy = self._object(
            "move-network-policy", "networking.k8s.io/v1", "NetworkPolicy", owner.metadata(),
            {"spec": access.move_policy(owner, plan.api_servers)}, self._child,
        )  # fmt: skip
        spec = jobs.move(plan, owner, self._args.images, self._args.job, passwords=self._secret)
        name = f"{access.MOVE}-{content_hash({'spec': json.dumps(spec, sort_keys=True)})}"
        jobs.tell_name(spec, name)
        why = (plan.shards, plan.max_parallel_moves, plan.move_bytes_per_second)
        metadata = owner.metadata(name, image=plan.image, why=why, annotations=jobs.PATIENT)
        needed = [bootstrap, policy, *self._account("move", owner, access.move_rules())]
        return self._object("move", "batch/v1", "Job", metadata, {"spec": spec}, self._after(needed))

    def _map(self, moved: KubernetesObject) -> None:
        """What clients begin with. It follows the buckets: a client that knew of their new places before they are there
        would be sent back."""
        plan = self._plan
        metadata = self._owner.metadata(self.shard_map, why=(plan.shards, plan.buckets))
        body = {"data": {"map.json": settings.bucket_map(plan.shards.value)}}
        self._object("map", "v1", "ConfigMap", metadata, body, self._after([moved]))

    def _identity(self, name: str, component: str) -> Identity:
        return Identity(name, self._plan.namespace, self._args.stack, component)

    def _account(self, logical: str, owner: Identity, rules: Sequence[Manifest] = ()) -> list[KubernetesObject]:
        return account(f"{self._name}-{logical}", owner, rules, self._child)

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

    def _after(self, needed: list[KubernetesObject]) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=list(needed)))

    @staticmethod
    def _kept(opts: pulumi.ResourceOptions) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(retain_on_delete=True))


LEADS_TO = "headroom.dev/leads-to"
"""On a Service: which pods of a shard it leads to; its EndpointSlices carry it too."""


def _sizes(of: Resources) -> tuple[Any, ...]:
    return of.cpu_request, of.cpu_limit, of.memory_request, of.memory_limit
