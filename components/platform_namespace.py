"""A namespace that starts closed: `restricted` pods only, no traffic but DNS, a quota, limits for every container."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi

from components.metadata import Identity
from components.objects import KubernetesObject, Manifest, child_options
from headroom.capacity.plan.model import NamespacePlan


@dataclass(frozen=True)
class PlatformNamespaceArgs:
    """The namespace's plan and the stack that owns it."""

    plan: NamespacePlan
    stack: str


class PlatformNamespace(pulumi.ComponentResource):
    """Namespace, default-deny NetworkPolicies with DNS opened, ResourceQuota, LimitRange.

    Depend on it, and everything of it is there before your first pod is.
    """

    def __init__(self, name: str, args: PlatformNamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("headroom:components:PlatformNamespace", name, None, opts)
        plan = args.plan
        child = child_options(self, opts)
        owner = Identity(name=plan.name, namespace=plan.name, stack=args.stack, component="namespace")

        namespace = KubernetesObject(
            f"{name}-namespace",
            "v1",
            "Namespace",
            {"name": plan.name, "labels": owner.labels() | _pod_security()},
            {},
            # Deleting a namespace deletes the volume claims in it.
            pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(retain_on_delete=True)),
        )
        inside = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[namespace]))
        for policy, spec in {"default-deny": _deny_all(), "allow-dns": _allow_dns()}.items():
            KubernetesObject(
                f"{name}-{policy}",
                "networking.k8s.io/v1",
                "NetworkPolicy",
                owner.metadata(policy),
                {"spec": spec},
                inside,
            )
        KubernetesObject(
            f"{name}-quota",
            "v1",
            "ResourceQuota",
            owner.metadata(
                "headroom-quota",
                why=(plan.pods, plan.cpu_requests, plan.memory_requests, plan.cpu_limits, plan.memory_limits),
            ),
            # Not for pods that have a deadline. A quota is lowered before the pods that it no longer covers are
            # gone, and the Jobs that let them go (their data moved, their memory saved) must run all the same.
            {"spec": {"hard": _quota(plan), "scopes": ["NotTerminating"]}},
            pulumi.ResourceOptions.merge(
                inside, pulumi.ResourceOptions(replace_on_changes=["spec.scopes"], delete_before_replace=True)
            ),
        )
        KubernetesObject(
            f"{name}-limits",
            "v1",
            "LimitRange",
            owner.metadata(
                "headroom-limits",
                why=(
                    plan.default_cpu_request,
                    plan.default_memory_request,
                    plan.default_cpu_limit,
                    plan.default_memory_limit,
                    plan.max_container_cpu,
                    plan.max_container_memory,
                ),
            ),
            {"spec": {"limits": [_container_limits(plan)]}},
            inside,
        )
        self.register_outputs({"name": plan.name})


def _pod_security() -> dict[str, str]:
    prefix = "pod-security.kubernetes.io"
    return {f"{prefix}/{mode}": "restricted" for mode in ("enforce", "warn", "audit")}


def _deny_all() -> Manifest:
    return {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def _allow_dns() -> Manifest:
    return {
        "podSelector": {},
        "policyTypes": ["Egress"],
        "egress": [
            {
                "to": [
                    {
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}},
                        "podSelector": {"matchLabels": {"k8s-app": "kube-dns"}},
                    },
                    # NodeLocal DNSCache listens on this address of the node, which no pod selector matches.
                    {"ipBlock": {"cidr": "169.254.20.10/32"}},
                ],
                "ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")],
            }
        ],
    }


def _quota(plan: NamespacePlan) -> dict[str, str]:
    return {
        "pods": str(plan.pods.value),
        "requests.cpu": plan.cpu_requests.value,
        "requests.memory": plan.memory_requests.value,
        "limits.cpu": plan.cpu_limits.value,
        "limits.memory": plan.memory_limits.value,
    }


def _container_limits(plan: NamespacePlan) -> Manifest:
    return {
        "type": "Container",
        "defaultRequest": {"cpu": plan.default_cpu_request.value, "memory": plan.default_memory_request.value},
        "default": {"cpu": plan.default_cpu_limit.value, "memory": plan.default_memory_limit.value},
        "max": {"cpu": plan.max_container_cpu.value, "memory": plan.max_container_memory.value},
    }
