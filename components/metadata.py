"""What every object says about itself: its name, its labels, and why it has its size."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from headroom.capacity.demand.stack import MONITORING
from headroom.capacity.plan.model import Sized

BECAUSE = "headroom.dev/because"
PUBLIC_BECAUSE = "headroom.dev/public-because"
"""Why a Service may be reached from outside; the policy pack asks for it."""
TRACK = "headroom.dev/track"
PART_OF = "headroom"
API_PORTS = (443, 6443)


@dataclass(frozen=True)
class Identity:
    """Whom an object belongs to.

    `name` is what an operator types (a service's key, `redis`, `pg-shard-0`), `stack` the stack that owns it,
    `component` its role in the platform (`api`, `cache`).
    """

    name: str
    namespace: str
    stack: str
    component: str

    def labels(self, track: str | None = None, *, image: str | None = None) -> dict[str, str]:
        """The recommended labels, `app`, and `headroom.dev/track` where two Deployments share a Service.

        `image` is for pods and what makes them: its tag is the version. On any other object it would make a change of
        the image a change of everything.
        """
        labels = {
            "app": self.name,
            "app.kubernetes.io/name": self.name,
            "app.kubernetes.io/instance": self.stack,
            "app.kubernetes.io/component": self.component,
            "app.kubernetes.io/part-of": PART_OF,
            "app.kubernetes.io/managed-by": "pulumi",
        }
        version = image_version(image) if image else None
        if version:
            labels["app.kubernetes.io/version"] = version
        if track:
            labels[TRACK] = track
        return labels

    def selector(self, track: str | None = None) -> dict[str, str]:
        """The labels that never change, for selectors (those of a Deployment are immutable)."""
        return {"app.kubernetes.io/name": self.name} | ({TRACK: track} if track else {})

    def metadata(
        self,
        object_name: str | None = None,
        *,
        why: tuple[Sized[Any] | None, ...] = (),
        annotations: Mapping[str, str] | None = None,
        track: str | None = None,
        image: str | None = None,
    ) -> dict[str, Any]:
        """`metadata` of an object in the namespace, named `name` unless `object_name` is given.

        `track` and `image` are those of `labels`.
        """
        notes = {**because(*why), **(annotations or {})}
        return {
            "name": object_name or self.name,
            "namespace": self.namespace,
            "labels": self.labels(track, image=image),
            **({"annotations": notes} if notes else {}),
        }


def stack_namespaces(stack: str) -> dict[str, Any]:
    """A NetworkPolicy peer: every pod in the namespaces of this stack."""
    labels = {"app.kubernetes.io/part-of": PART_OF, "app.kubernetes.io/instance": stack}
    return {"namespaceSelector": {"matchLabels": labels}}


def monitoring() -> dict[str, Any]:
    """A NetworkPolicy peer: every pod of the monitoring namespace."""
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": MONITORING}}}


def api_server(networks: Sequence[str]) -> dict[str, Any]:
    """A NetworkPolicy's egress rule to the API server. No selector can name it, for it is no pod: only those who run
    the cluster know its networks (CIDR). Without them its ports are open to everywhere."""
    to = {"to": [{"ipBlock": {"cidr": network}} for network in networks]} if networks else {}
    return {**to, "ports": tcp_ports(*API_PORTS)}


def tcp_ports(*numbers: int) -> list[dict[str, Any]]:
    """`ports` of a NetworkPolicy's rule."""
    return [{"protocol": "TCP", "port": number} for number in numbers]


def because(*sizes: Sized[Any] | None) -> dict[str, str]:
    """The annotation that says why, a line a size; empty where nothing was sized.

    For objects only: in a pod template a reworded formula would restart every pod.
    """
    lines = [
        f"{size.setting} {size.value}{f' {size.unit}' if size.unit else ''}: {size.because} [{size.bound_by}]"
        for size in sizes
        if size is not None
    ]
    return {BECAUSE: "\n".join(lines)} if lines else {}


def image_version(image: str) -> str | None:
    """The tag of an image as a label value; None without a tag or where a tag cannot be a label.

    >>> image_version("registry.example:5000/inference:1.0.0@sha256:abc")
    '1.0.0'
    """
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag if re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", tag) else None


def content_hash(content: Mapping[str, str]) -> str:
    """Ten hex digits that change with the content and with nothing else."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
