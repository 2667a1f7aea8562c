"""Who reaches the H2O cluster, and what its pods may do: Services, NetworkPolicies, rights."""

from __future__ import annotations

from collections.abc import Sequence

from components.h2o.jobs import RECORD
from components.h2o.nodes import GUARD_PORT, NAME, NODE_PORT, REST_PORT, ROLE
from components.metadata import Identity, api_server, stack_namespaces, tcp_ports
from components.objects import Manifest

OBJECT_STORAGE_PORT = 443
XGBOOST_PORTS = (9010, 10010)
"""From the first to the last on which XGBoost's own processes meet while they train, on all nodes at once."""


def headless_spec(owner: Identity) -> Manifest:
    """By which nodes find each other before any is ready. H2O asks for SRV records, which named ports have."""
    return {
        "clusterIP": "None",
        "publishNotReadyAddresses": True,
        "selector": owner.selector(),
        "ports": [{"name": "http", "port": REST_PORT, "targetPort": "http", "protocol": "TCP"}],
    }


def leader_spec(owner: Identity) -> Manifest:
    """Clients' way to the one node that serves them; the guard keeps the label true."""
    return {
        "type": "ClusterIP",
        "selector": owner.selector() | {ROLE: "leader"},
        "ports": [{"name": "http", "port": REST_PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"}],
    }


def nodes_policy(
    owner: Identity, jobs: Identity, api_servers: Sequence[str], *, xgboost: bool, object_storage: bool
) -> Manifest:
    """Nodes among themselves; clients of the stack's namespaces and the Jobs to the API alone.

    Out: to each other, to the Kubernetes API, and to object storage (which has no fixed address) where it is used.
    """
    nodes = [{"podSelector": {"matchLabels": owner.selector()}}]
    among = tcp_ports(REST_PORT, NODE_PORT, GUARD_PORT)
    # Heartbeats are UDP.
    among.append({"protocol": "UDP", "port": NODE_PORT})
    if xgboost:
        first, last = XGBOOST_PORTS
        among.append({"protocol": "TCP", "port": first, "endPort": last})
    return {
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": nodes, "ports": among},
            {
                "from": [{"podSelector": {"matchLabels": jobs.selector()}}, stack_namespaces(owner.stack)],
                "ports": tcp_ports(REST_PORT),
            },
        ],
        "egress": [
            {"to": nodes, "ports": among},
            api_server(api_servers),
            *([{"ports": tcp_ports(OBJECT_STORAGE_PORT)}] if object_storage else []),
        ],
    }


def jobs_policy(owner: Identity, jobs: Identity, api_servers: Sequence[str]) -> Manifest:
    """The Jobs: to the leader and the Kubernetes API; nobody to them."""
    return {
        "podSelector": {"matchLabels": jobs.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            {"to": [{"podSelector": {"matchLabels": owner.selector()}}], "ports": tcp_ports(REST_PORT)},
            api_server(api_servers),
        ],
    }


def guard_rules(nodes: int) -> list[Manifest]:
    """Labelling the nodes' pods, by name: no rule can say `its own`."""
    names = [f"{NAME}-{number}" for number in range(nodes)]
    return [{"apiGroups": [""], "resources": ["pods"], "resourceNames": names, "verbs": ["patch"]}]


def job_rules() -> list[Manifest]:
    """Seeing whether there is a cluster and which, and keeping the record of what was saved."""
    return [
        {"apiGroups": ["apps"], "resources": ["statefulsets"], "resourceNames": [NAME], "verbs": ["get"]},
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [RECORD], "verbs": ["get", "patch"]},
    ]
