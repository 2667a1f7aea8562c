"""Anything without state: a Deployment with everything that keeps it sized, reachable and safe to restart."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pulumi

from components import access
from components.links import Link
from components.metadata import PUBLIC_BECAUSE, Identity, content_hash
from components.objects import KubernetesObject, child_options
from components.stateless.autoscaler import HPA_OWNERSHIP, PAUSED, hpa_spec, scaled_object_spec
from components.stateless.deployment import deployment_spec
from components.stateless.network import network_policy_spec, service_specs
from components.stateless.presets import environment, preset_of
from headroom.capacity.plan.model import ImagesPlan, ServicePlan, Sized

STABLE = "stable"
CANARY = "canary"


@dataclass(frozen=True)
class StatelessServiceArgs:
    """A service's plan, and what it shares with its stack.

    `link` is what it is told of the stack's stores; the stack file's `env` has the last word.
    """

    plan: ServicePlan
    images: ImagesPlan
    stack: str
    link: Link = field(default_factory=Link)


class StatelessService(pulumi.ComponentResource):
    """A Deployment (and a canary) with ConfigMap, account, Service, NetworkPolicy, autoscaler and disruption budget."""

    address: str
    """Where callers in the cluster reach it: `http://<key>.<namespace>.svc:<port>`."""

    def __init__(self, name: str, args: StatelessServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("headroom:components:StatelessService", name, None, opts)
        self._name = name
        self._args = args
        self._plan = args.plan
        self._preset = preset_of(args.plan.preset, args.plan.profile)
        self._owner = Identity(
            name=args.plan.key,
            namespace=args.plan.namespace,
            stack=args.stack,
            component=self._preset.component,
        )
        self._child = child_options(self, opts)

        config_map, config = self._config_map()
        needed = [config, *self._access(), *self._network()]
        before = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=needed))
        deployment = self._deployment(config_map, before)
        after = pulumi.ResourceOptions.merge(self._child, pulumi.ResourceOptions(depends_on=[deployment]))
        self._autoscaler(after)
        self._disruption_budget(after)
        self._canary(config_map, before)

        self.address = f"http://{self._owner.name}.{self._owner.namespace}.svc:{self._preset.ports[0].number}"
        self.register_outputs({"address": self.address})

    def _config_map(self) -> tuple[str, KubernetesObject]:
        plan = self._plan
        data = environment(plan, self._preset, self._args.link.settings)
        # The name carries the content: a change makes a new map, which rolls the pods; without one nothing moves.
        name = f"{self._owner.name}-config-{content_hash(data)}"
        why = (plan.worker_threads, plan.queue_limit, plan.cache_capacity, plan.connections_per_pod)
        metadata = self._owner.metadata(name, why=why)
        body = {"data": data, "immutable": True}
        return name, KubernetesObject(f"{self._name}-config", "v1", "ConfigMap", metadata, body, self._child)

    def _access(self) -> list[KubernetesObject]:
        return access.account(self._name, self._owner, self._preset.api_rules, self._child)

    def _network(self) -> list[KubernetesObject]:
        plan, owner, preset = self._plan, self._owner, self._preset
        reason = {PUBLIC_BECAUSE: plan.exposure.because} if plan.exposure.because else {}
        # Pods may be none for a while (maintenance); the Deployment is what is waited for.
        skip = {"pulumi.com/skipAwait": "true"}
        services = [
            KubernetesObject(
                f"{self._name}-service" if name == owner.name else f"{self._name}-mesh-service",
                "v1",
                "Service",
                owner.metadata(
                    name, annotations=skip | ({**plan.exposure.annotations, **reason} if name == owner.name else {})
                ),
                {"spec": spec},
                self._child,
            )
            for name, spec in service_specs(preset, owner, plan.exposure).items()
        ]
        policy = KubernetesObject(
            f"{self._name}-network-policy",
            "networking.k8s.io/v1",
            "NetworkPolicy",
            owner.metadata(),
            {"spec": network_policy_spec(preset, owner, plan.exposure)},
            self._child,
        )
        return [*services, policy]

    def _deployment(self, config_map: str, opts: pulumi.ResourceOptions) -> KubernetesObject:
        plan = self._plan
        suspended_hpa = plan.maintenance and plan.autoscaling.source != "keda"
        return KubernetesObject(
            f"{self._name}-deployment",
            "apps/v1",
            "Deployment",
            self._owner.metadata(
                why=(plan.replicas_at_target, plan.predicted_p99_ms, *self._pod_sizes()),
                track=STABLE,
                image=plan.image,
            ),
            {
                "spec": deployment_spec(
                    plan,
                    self._preset,
                    self._owner,
                    images=self._args.images,
                    track=STABLE,
                    image=plan.image,
                    replicas=0 if suspended_hpa else None,
                    config_map=config_map,
                    secrets=self._args.link.secrets,
                    files=self._args.link.files,
                )
            },
            opts,
        )

    def _canary(self, config_map: str, opts: pulumi.ResourceOptions) -> None:
        plan, owner, canary = self._plan, self._owner, self._plan.canary
        if canary is None:
            return
        spec = deployment_spec(
            plan,
            self._preset,
            owner,
            images=self._args.images,
            track=CANARY,
            image=canary.image,
            replicas=0 if plan.maintenance else canary.replicas.value,
            config_map=config_map,
            secrets=self._args.link.secrets,
            files=self._args.link.files,
        )
        metadata = owner.metadata(
            f"{owner.name}-canary", why=(canary.replicas, *self._pod_sizes()), track=CANARY, image=canary.image
        )
        KubernetesObject(f"{self._name}-canary", "apps/v1", "Deployment", metadata, {"spec": spec}, opts)

    def _autoscaler(self, opts: pulumi.ResourceOptions) -> None:
        plan = self._plan
        scaling = plan.autoscaling
        name = f"{self._owner.name}-hpa"
        why = (
            scaling.min_replicas,
            scaling.max_replicas,
            scaling.cpu_utilization,
            scaling.pods_metric.average if scaling.pods_metric else None,
        )
        if scaling.source == "keda":
            KubernetesObject(
                f"{self._name}-scaled-object",
                "keda.sh/v1alpha1",
                "ScaledObject",
                self._owner.metadata(name, why=why, annotations={PAUSED: "0"} if plan.maintenance else None),
                {"spec": scaled_object_spec(plan, self._preset, self._owner)},
                opts,
            )
            return
        KubernetesObject(
            f"{self._name}-hpa",
            "autoscaling/v2",
            "HorizontalPodAutoscaler",
            # A move to KEDA creates the new owner before it deletes this one, which KEDA's webhook would refuse.
            self._owner.metadata(name, why=why, annotations={HPA_OWNERSHIP: "false"}),
            {"spec": hpa_spec(scaling, self._owner)},
            opts,
        )

    def _disruption_budget(self, opts: pulumi.ResourceOptions) -> None:
        least = self._plan.min_available
        if least is not None:
            access.disruption_budget(f"{self._name}-pdb", self._owner, {"minAvailable": least.value}, least, opts)

    def _pod_sizes(self) -> tuple[Sized[Any], ...]:
        size = self._plan.resources
        return (
            size.cpu_request,
            size.cpu_limit,
            size.memory_request,
            size.memory_limit,
            self._plan.drain.grace_period_seconds,
        )
