"""Redis with everything that keeps it led, reachable and whole: see `docs/redis.md`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pulumi

from components import access, passwords
from components.links import Link
from components.metadata import Identity, content_hash
from components.objects import KubernetesObject, child_options
from components.pods import SecretKey
from components.redis import network
from components.redis.names import AUTH, HEADLESS, MASTER, NAME, PORT, RESIZE, hosts, pod_count
from components.redis.workload import JOB_SECONDS, resize_job, stateful_set
from headroom.capacity.plan.model import ImagesPlan, RedisPlan, Resources, ServicePlan, Sized
from headroom.capacity.quantities import octets
from headroom.engine.fixed import FIXED, FIXED_BECAUSE

USERS = ("redisApp", "redisAdmin", "redisMonitor")


@dataclass(frozen=True)
class RedisArgs:
    """Redis' plan, what its Jobs may use (`job`), and the stack's configuration, of which the passwords are taken."""

    plan: RedisPlan
    images: ImagesPlan
    stack: str
    job: Resources
    config: Mapping[str, Any]


class Redis(pulumi.ComponentResource):
    """StatefulSet, claims, Services, accounts, disruption budget; in mode cluster the Jobs that make and resize it."""

    address: str
    """Where a client without a password begins."""

    def __init__(self, name: str, args: RedisArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("headroom:components:Redis", name, None, opts)
        self._name, self._args, self._plan = name, args, args.plan
        self._sentinel = args.plan.mode == "sentinel"
        self._owner = Identity(NAME, args.plan.namespace, args.stack, "cache")
        self._jobs = Identity(RESIZE, args.plan.namespace, args.stack, "cache")
        self._child = child_options(self, opts)
        self._client: dict[str, SecretKey] = {}

        scheme = "redis+sentinel" if self._sentinel else "redis+cluster"
        path = f"/{MASTER}" if self._sentinel else ""
        self.address = f"{scheme}://{','.join(hosts(self._plan, self._owner))}{path}"
        secret, rolls, needed = self._secrets(scheme, path)
        settings, config = self._settings()
        needed += [config, *self._network(), *self._claims()]
        needed += [] if self._sentinel else [self._job("drain", secret, [*needed, *self._resize_access()])]
        workload = self._workload(settings, secret, rolls, needed)
        self._budget(workload)
        if not self._sentinel:
            self._job("fill", secret, [workload])
        self.register_outputs({"address": self.address})

    def link(self, service: ServicePlan) -> Link:
        """How a service reaches it: nothing for a program that would not know what to do with it, or in another
        namespace, where the Secret is not.

        It does not wait for Redis: a cache that is not there yet is a cache that misses.
        """
        if service.preset != "fastapi" or service.namespace != self._plan.namespace:
            return Link()
        return Link(secrets=self._client)

    def _secrets(self, scheme: str, path: str) -> tuple[str, Mapping[str, str], list[KubernetesObject]]:
        """The name of the Secret with the passwords, the pods' annotations that follow it, and the objects."""
        places = ",".join(hosts(self._plan, self._owner))
        given = self._plan.existing_secret
        if given:
            values = {"REDIS_URL": f"{scheme}://{places}{path}", "REDIS_USERNAME": "app"}
            client = f"redis-client-{content_hash(values)}"
            made = [passwords.secret(f"{self._name}-client", self._owner, client, values, self._child)]
            self._client = {name: SecretKey(client, name) for name in values}
            self._client["REDIS_PASSWORD"] = SecretKey(given, "redisApp")
            return given, {}, made
        held = passwords.passwords(self._args.config, USERS)
        url = f"{scheme}://app:{quote(held['redisApp'], safe='')}@{places}{path}"
        # Named by its content: the services' pods roll with it. The servers take a new password while they run.
        client = f"redis-client-{passwords.fingerprint({'REDIS_URL': url})}"
        self._client = {"REDIS_URL": SecretKey(client, "REDIS_URL")}
        return (
            AUTH,
            {"headroom.dev/passwords": passwords.fingerprint(held)},
            [
                passwords.secret(f"{self._name}-auth", self._owner, AUTH, held, self._child),
                passwords.secret(f"{self._name}-client", self._owner, client, {"REDIS_URL": url}, self._child),
            ],
        )

    def _settings(self) -> tuple[str, KubernetesObject]:
        plan = self._plan
        data = {
            "REDIS_MODE": plan.mode,
            "REDIS_WORKLOAD": NAME,
            "REDIS_HEADLESS": HEADLESS,
            "REDIS_MAXMEMORY": str(octets(plan.maxmemory.value)),
            "REDIS_MAXMEMORY_POLICY": plan.maxmemory_policy.value,
            "REDIS_MIN_REPLICAS": str(_min_replicas(plan)),
        }
        if plan.sentinels and plan.quorum:
            data |= {
                "REDIS_PODS": str(pod_count(plan)),
                "REDIS_SENTINELS": str(plan.sentinels.value),
                "REDIS_QUORUM": str(plan.quorum.value),
            }
        name = f"{NAME}-config-{content_hash(data)}"
        metadata = self._owner.metadata(name, why=(plan.maxmemory, plan.maxmemory_policy, plan.quorum))
        return name, self._object("config", "v1", "ConfigMap", metadata, {"data": data, "immutable": True})

    def _network(self) -> list[KubernetesObject]:
        owner = self._owner
        made = [
            self._object(
                "service" if name == NAME else f"service-{name.removeprefix(f'{NAME}-')}",
                "v1",
                "Service",
                # Endpoints come with the pods, which come after.
                owner.metadata(name, annotations={"pulumi.com/skipAwait": "true"}),
                {"spec": spec},
            )
            for name, spec in network.services(owner, self._sentinel).items()
        ]
        policy = network.network_policy(owner, self._sentinel, self._plan.api_servers)
        kind = "networking.k8s.io/v1"
        made.append(self._object("network-policy", kind, "NetworkPolicy", owner.metadata(), {"spec": policy}))
        rules = network.role_rules(pod_count(self._plan)) if self._sentinel else []
        return [*made, *self._account("", owner, rules)]

    def _resize_access(self) -> list[KubernetesObject]:
        """What the Jobs need: an account, a way to the nodes, and the record of what they have begun."""
        spec = network.resize_policy(self._owner, self._jobs, self._plan.api_servers)
        metadata = self._jobs.metadata()
        return [
            *self._account("resize-", self._jobs, network.resize_rules()),
            self._object("resize-policy", "networking.k8s.io/v1", "NetworkPolicy", metadata, {"spec": spec}),
            self._object("resize-record", "v1", "ConfigMap", metadata, {}),
        ]

    def _account(self, prefix: str, owner: Identity, rules: list[dict[str, Any]]) -> list[KubernetesObject]:
        return access.account(f"{self._name}-{prefix}".removesuffix("-"), owner, rules, self._child)

    def _claims(self) -> list[KubernetesObject]:
        """A claim a pod, named as the StatefulSet expects it: its size may grow, which a template's cannot."""
        plan = self._plan
        spec: dict[str, Any] = {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": plan.volume_size.value}},
        }
        if plan.storage_class:
            spec["storageClassName"] = plan.storage_class
        kept = pulumi.ResourceOptions(retain_on_delete=True)
        notes = {**_LATE, FIXED: f"mode {plan.mode}", FIXED_BECAUSE: _OF_ONE_MODE}
        return [
            KubernetesObject(
                f"{self._name}-claim-{n}",
                "v1",
                "PersistentVolumeClaim",
                self._owner.metadata(f"data-{NAME}-{n}", why=(plan.volume_size,), annotations=notes),
                {"spec": spec},
                pulumi.ResourceOptions.merge(self._child, kept),
            )
            for n in range(pod_count(plan))
        ]

    def _workload(
        self, settings: str, secret: str, annotations: Mapping[str, str], needs: list[KubernetesObject]
    ) -> KubernetesObject:
        plan = self._plan
        size = plan.resources
        why: tuple[Sized[Any] | None, ...] = (
            plan.masters,
            plan.replicas_per_master,
            plan.container_memory,
            size.cpu_request,
            size.cpu_limit,
        )
        spec = stateful_set(
            plan, self._owner, self._args.images, settings=settings, secret=secret, annotations=annotations
        )
        return self._object(
            "stateful-set",
            "apps/v1",
            "StatefulSet",
            self._owner.metadata(why=why, image=plan.image),
            {"spec": spec},
            needs,
        )

    def _budget(self, workload: KubernetesObject) -> None:
        least = self._plan.min_available
        if least is not None:
            after = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[workload]))
            access.disruption_budget(f"{self._name}-pdb", self._owner, {"minAvailable": least.value}, least, after)

    def _job(self, step: Any, secret: str, needs: list[KubernetesObject]) -> KubernetesObject:
        """A Job named by its content, which has the shape that it brings about: the same shape is done already, and a
        Job's template cannot change."""
        plan = self._plan
        environment = {
            "REDIS_MODE": plan.mode,
            "REDIS_WORKLOAD": NAME,
            "REDIS_HEADLESS": HEADLESS,
            "REDIS_PODS": str(pod_count(plan)),
            "REDIS_MASTERS": str(plan.masters.value),
            "REDIS_REPLICAS_PER_MASTER": str(plan.replicas_per_master.value),
        }
        spec = resize_job(
            step, plan, self._jobs, self._args.images, self._args.job, environment=environment, secret=secret
        )
        named = content_hash({"spec": json.dumps(spec, sort_keys=True)})
        job = f"{NAME}-{step}-{named}"
        metadata = self._jobs.metadata(job, why=(plan.masters,), annotations=_PATIENT, image=plan.image)
        return self._object(step, "batch/v1", "Job", metadata, {"spec": spec}, needs)

    def _object(
        self,
        suffix: str,
        api_version: str,
        kind: str,
        metadata: Mapping[str, Any],
        body: Mapping[str, Any],
        needs: list[KubernetesObject] | None = None,
    ) -> KubernetesObject:
        opts = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=needs)) if needs else None
        return KubernetesObject(f"{self._name}-{suffix}", api_version, kind, metadata, body, opts or self._child)


# A claim of a class that waits for its first pod stays unbound until there is one.
_LATE = {"pulumi.com/skipAwait": "true"}
_OF_ONE_MODE = (
    "the nodes of one mode cannot read the other's files; deploy a second namespace and warm it, or delete the claims "
    "after headroom down, if the data may go"
)
_PATIENT = {"pulumi.com/timeoutSeconds": str(JOB_SECONDS)}


def _min_replicas(plan: RedisPlan) -> int:
    """0 with one replica a master: when it is promoted it would refuse writes until the old master is back."""
    return 1 if plan.replicas_per_master.value > 1 else 0


__all__ = ["PORT", "Redis", "RedisArgs"]
