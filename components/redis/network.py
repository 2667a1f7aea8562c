"""The Services of Redis, and the paths that are opened for its pods and its resize Jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.metadata import Identity, api_server, monitoring, stack_namespaces, tcp_ports
from components.objects import Manifest
from components.redis.names import BUS_PORT, HEADLESS, METRICS_PORT, NAME, PORT, RESIZE, ROLE, SENTINEL_PORT


def services(owner: Identity, sentinel: bool) -> dict[str, Manifest]:
    """Specs by name. The headless one names pods that are not ready, too: they find each other before they are."""
    ports = [_port("redis", PORT), *([_port("sentinel", SENTINEL_PORT)] if sentinel else [])]
    everyone = {"selector": owner.selector(), "ports": ports}
    found: dict[str, Manifest] = {
        NAME: {"type": "ClusterIP", **everyone},
        HEADLESS: {"clusterIP": "None", "publishNotReadyAddresses": True, **everyone},
    }
    if sentinel:
        selector = {**owner.selector(), ROLE: "master"}
        found["redis-master"] = {"type": "ClusterIP", "selector": selector, "ports": [_port("redis", PORT)]}
    return found


def network_policy(owner: Identity, sentinel: bool, api_servers: Sequence[str]) -> Manifest:
    """In: callers of the stack, the pods themselves, monitoring. Out: the pods themselves, and with Sentinel the API
    server, for the label of the one that leads."""
    served = (PORT, SENTINEL_PORT) if sentinel else (PORT,)
    own = served if sentinel else (PORT, BUS_PORT)
    pods = [{"podSelector": {"matchLabels": owner.selector()}}]
    return {
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [stack_namespaces(owner.stack)], "ports": tcp_ports(*served)},
            {"from": pods, "ports": tcp_ports(*own)},
            {"from": [monitoring()], "ports": tcp_ports(METRICS_PORT)},
        ],
        "egress": [{"to": pods, "ports": tcp_ports(*own)}, *([api_server(api_servers)] if sentinel else [])],
    }


def resize_policy(owner: Identity, jobs: Identity, api_servers: Sequence[str]) -> Manifest:
    """The Jobs talk to the nodes and to the API server; nobody talks to them."""
    return {
        "podSelector": {"matchLabels": jobs.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            {"to": [{"podSelector": {"matchLabels": owner.selector()}}], "ports": tcp_ports(PORT)},
            api_server(api_servers),
        ],
    }


def role_rules(pods: int) -> list[dict[str, Any]]:
    """What a sentinel's container may do: label the pods of its own set."""
    names = [f"{NAME}-{n}" for n in range(pods)]
    return [{"apiGroups": [""], "resources": ["pods"], "resourceNames": names, "verbs": ["patch"]}]


def resize_rules() -> list[dict[str, Any]]:
    """What a resize Job may do: see how many pods there are, and keep its one record."""
    return [
        {"apiGroups": ["apps"], "resources": ["statefulsets"], "resourceNames": [NAME], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [RESIZE], "verbs": ["get", "patch"]},
    ]


def _port(name: str, number: int) -> Manifest:
    return {"name": name, "port": number, "targetPort": name, "protocol": "TCP", "appProtocol": "redis"}
