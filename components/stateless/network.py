"""The Service of a stateless service and the paths that are opened for it."""

from __future__ import annotations

from collections.abc import Iterable

from components.metadata import Identity, monitoring, stack_namespaces
from components.objects import Manifest
from components.stateless.presets import Egress, Preset
from headroom.capacity.plan.model import ServiceExposure


def service_spec(preset: Preset, owner: Identity, exposure: ServiceExposure) -> Manifest:
    """`spec` of the Service: stable pods and canary pods alike."""
    return {
        "type": exposure.type,
        "selector": owner.selector(),
        "ports": [
            {"name": p.name, "port": p.number, "targetPort": p.name, "protocol": "TCP", "appProtocol": p.protocol}
            for p in preset.ports
        ],
    }


def network_policy_spec(preset: Preset, owner: Identity, exposure: ServiceExposure) -> Manifest:
    """`spec` of the NetworkPolicy of the service's pods.

    In: callers in the stack's namespaces (anyone when the Service is public), and monitoring to the metrics. Out: only
    to what the program needs.
    """
    ports = _ports(p.number for p in preset.ports)
    callers: Manifest = {"ports": ports}
    if exposure.type == "ClusterIP":
        callers["from"] = [stack_namespaces(owner.stack)]
    ingress = [callers]
    if preset.metrics_path:
        ingress.append({"from": [monitoring()], "ports": ports[:1]})
    egress = [_egress(rule, owner) for rule in preset.egress]
    if preset.neighbours:
        egress.append({"to": [{"podSelector": {}}], "ports": _ports(preset.neighbours)})
    return {
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        **({"egress": egress} if egress else {}),
    }


def _egress(rule: Egress, owner: Identity) -> Manifest:
    ports = _ports(rule.ports)
    if rule.app is None:
        return {"ports": ports}
    return {"to": [stack_namespaces(owner.stack) | {"podSelector": {"matchLabels": {"app": rule.app}}}], "ports": ports}


def _ports(numbers: Iterable[int]) -> list[Manifest]:
    return [{"protocol": "TCP", "port": number} for number in numbers]
