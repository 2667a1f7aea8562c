"""Who may reach us from outside."""

from __future__ import annotations

from collections.abc import Iterator

from policy.rules.model import Manifest, ObjectRule, spec

REASON = "headroom.dev/public-because"


def public(manifest: Manifest) -> Iterator[str]:
    """Services that the world outside the cluster can reach and that do not say why."""
    if manifest.get("kind") != "Service":
        return
    annotations = (manifest.get("metadata") or {}).get("annotations") or {}
    how = spec(manifest).get("type", "ClusterIP")
    outside = how in ("LoadBalancer", "NodePort") or spec(manifest).get("externalIPs")
    if outside and not str(annotations.get(REASON) or "").strip():
        yield f"is public ({how}) without a reason: set service.because in the stack file (annotation {REASON})"


RULE = ObjectRule("no-public-service", "A Service is reachable from outside the cluster only with a reason.", public)
