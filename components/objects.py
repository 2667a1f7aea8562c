"""One Kubernetes object as a Pulumi resource, written the way its manifest is written.

The generated classes of `pulumi_kubernetes` register exactly this (type token, `apiVersion`, `kind` and the rest), but
importing them loads megabytes of generated code, which costs more than all else that a render does. Manifests are
checked against the Kubernetes schemas in the tests, which is stricter than the classes are.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import Any

import pulumi

from headroom.errors import HeadroomError

Manifest = dict[str, Any]
"""A (part of a) manifest: camelCase keys, values JSON or `pulumi.Output` of it."""


class KubernetesObject(pulumi.CustomResource):
    """A Kubernetes object; `body` is everything of its manifest but `apiVersion`, `kind` and `metadata`."""

    def __init__(
        self,
        resource_name: str,
        api_version: str,
        kind: str,
        metadata: Mapping[str, Any],
        body: Mapping[str, Any],
        opts: pulumi.ResourceOptions,
    ) -> None:
        if kind == "Secret":
            opts = pulumi.ResourceOptions.merge(
                opts, pulumi.ResourceOptions(additional_secret_outputs=["data", "stringData"])
            )
        if opts.retain_on_delete or kind in _SCALED:
            metadata = _annotated(metadata, _TAKEN_OVER)
        if kind == "Job":
            metadata = _annotated(metadata, _TRIED_AGAIN)
        group = api_version if "/" in api_version else f"core/{api_version}"
        manifest = {"apiVersion": api_version, "kind": kind, "metadata": metadata, **body}
        super().__init__(f"kubernetes:{group}:{kind}", resource_name, manifest, opts)


# What outlives its stack: each life of it writes as another field manager, and so does each engine. What the last one
# wrote would stand in the way of the next one's size, labels or annotations as a conflict. So would one `kubectl scale`
# in a hurry. An autoscaler owns the replicas of its Deployment, and maintenance takes them for as long as it lasts.
_SCALED = ("Deployment", "StatefulSet")
_TAKEN_OVER = "pulumi.com/patchForce"
# A Job that failed stays failed, and its name is that of its content: the next update would find the same one again.
_TRIED_AGAIN = "pulumi.com/replaceUnready"


def _annotated(metadata: Mapping[str, Any], annotation: str) -> Manifest:
    return {**metadata, "annotations": {**(metadata.get("annotations") or {}), annotation: "true"}}


def child_options(component: pulumi.ComponentResource, opts: pulumi.ResourceOptions | None) -> pulumi.ResourceOptions:
    """The options of a component's children: the caller's (order, provider, protection), with the component as parent.

    The caller's aliases say what the component was called. Its children inherit them through their parent; given to
    each child as well, two of one kind would claim the same old name.
    """
    given = copy(opts) if opts else pulumi.ResourceOptions()
    given.aliases = None
    return pulumi.ResourceOptions.merge(given, pulumi.ResourceOptions(parent=component))


def register_backstop() -> None:
    """Have the stack refuse a Kubernetes object without a component above it or without a name of its own.

    Such an object would be deployed all the same, outside every order, label and policy of a component, or under a name
    that changes each time it is replaced.
    """
    pulumi.runtime.register_stack_transformation(_refuse)


def _refuse(args: pulumi.ResourceTransformationArgs) -> None:
    if not args.type_.startswith("kubernetes:"):
        return
    if not isinstance(args.opts.parent, pulumi.ComponentResource) or isinstance(
        args.opts.parent, pulumi.runtime.stack.Stack
    ):
        raise HeadroomError(
            f"{args.type_} {args.name!r} has no component as its parent",
            fix="create it inside a component, with opts=child_options(self, opts)",
        )
    metadata = args.props.get("metadata")
    if not isinstance(metadata, Mapping) or not metadata.get("name"):
        raise HeadroomError(f"{args.type_} {args.name!r} has no metadata.name", fix="name it as operators will type it")
