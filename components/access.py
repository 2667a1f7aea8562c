"""Who a component's pods are to the Kubernetes API, and how many of them may be taken away at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pulumi

from components.metadata import Identity
from components.objects import KubernetesObject
from headroom.capacity.plan.model import Sized

RBAC = "rbac.authorization.k8s.io"


def account(
    resource_name: str, owner: Identity, rules: Iterable[Mapping[str, Any]], opts: pulumi.ResourceOptions
) -> list[KubernetesObject]:
    """`<resource_name>-account`, a ServiceAccount named as its owner; where there are rules, a Role with them that is
    bound to it. Returns what pods must wait for."""
    held = KubernetesObject(
        f"{resource_name}-account",
        "v1",
        "ServiceAccount",
        owner.metadata(),
        # A pod that needs the token asks for it.
        {"automountServiceAccountToken": False},
        opts,
    )
    allowed = [dict(rule) for rule in rules]
    if not allowed:
        return [held]
    role = KubernetesObject(f"{resource_name}-role", f"{RBAC}/v1", "Role", owner.metadata(), {"rules": allowed}, opts)
    binding = {
        "roleRef": {"apiGroup": RBAC, "kind": "Role", "name": owner.name},
        "subjects": [{"kind": "ServiceAccount", "name": owner.name, "namespace": owner.namespace}],
    }
    after = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=[held, role]))
    bound = KubernetesObject(
        f"{resource_name}-role-binding", f"{RBAC}/v1", "RoleBinding", owner.metadata(), binding, after
    )
    return [held, bound]


def disruption_budget(
    resource_name: str,
    owner: Identity,
    bound: Mapping[str, Any],
    why: Sized[Any],
    opts: pulumi.ResourceOptions,
) -> None:
    """A PodDisruptionBudget over the owner's pods; `bound` is its `minAvailable` or `maxUnavailable`."""
    spec = {
        **bound,
        "selector": {"matchLabels": owner.selector()},
        # Pods that are broken anyway must not keep a node from being drained.
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    KubernetesObject(
        resource_name, "policy/v1", "PodDisruptionBudget", owner.metadata(why=(why,)), {"spec": spec}, opts
    )
