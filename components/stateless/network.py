"""The Services of a stateless service and the paths that are opened for it."""

from __future__ import annotations

from collections.abc import Iterable

from components.metadata import Identity, monitoring, stack_namespaces, tcp_ports
from components.objects import Manifest
from components.stateless.presets import Egress, Port, Preset
from headroom.capacity.plan.model import ServiceExposure


def service_specs(preset: Preset, owner: Identity, exposure: ServiceExposure) -> dict[str, Manifest]:
    """Specs of the Services by name: stable pods and canary pods alike.

    A public Service carries only what callers use. What is for the neighbours alone has one of its own beside it,
    `<name>-mesh`, which is never public.
    """
    public = exposure.type != "ClusterIP"
    inside = [p for p in preset.ports if p.callers == "neighbours"] if public else []
    specs = {owner.name: _service_spec(exposure.type, [p for p in preset.ports if p not in inside], owner)}
    return specs | ({f"{owner.name}-mesh": _service_spec("ClusterIP", inside, owner)} if inside else {})


def _service_spec(kind: str, ports: Iterable[Port], owner: Identity) -> Manifest:
    return {
        "type": kind,
        "selector": owner.selector(),
        "ports": [
            {"name": p.name, "port": p.number, "targetPort": p.name, "protocol": "TCP", "appProtocol": p.protocol}
            for p in ports
        ],
    }


def network_policy_spec(preset: Preset, owner: Identity, exposure: ServiceExposure) -> Manifest:
    """`spec` of the NetworkPolicy of the service's pods.

    In: callers in the stack's namespaces (anyone when the Service is public), neighbours to what is for them alone, and
    monitoring to the metrics. Out: only to what the program needs.
    """
    callers: Manifest = {"ports": tcp_ports(*(p.number for p in preset.ports if p.callers == "stack"))}
    if exposure.type == "ClusterIP":
        callers["from"] = [stack_namespaces(owner.stack)]
    ingress = [callers]
    if inside := tcp_ports(*(p.number for p in preset.ports if p.callers == "neighbours")):
        ingress.append({"from": [{"podSelector": {}}], "ports": inside})
    if preset.metrics_path:
        ingress.append({"from": [monitoring()], "ports": tcp_ports(preset.ports[0].number)})
    egress = [_egress(rule, owner) for rule in preset.egress]
    if preset.neighbours:
        egress.append({"to": [{"podSelector": {}}], "ports": tcp_ports(*preset.neighbours)})
    return {
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": ingress,
        **({"egress": egress} if egress else {}),
    }


def _egress(rule: Egress, owner: Identity) -> Manifest:
    ports = tcp_ports(*rule.ports)
    if rule.app is None:
        return {"ports": ports}
    return {"to": [stack_namespaces(owner.stack) | {"podSelector": {"matchLabels": {"app": rule.app}}}], "ports": ports}
