"""What a shard's pods may do, and who may talk to them."""

from __future__ import annotations

from collections.abc import Sequence

from components.metadata import Identity, api_server, monitoring, stack_namespaces, tcp_ports
from components.objects import Manifest
from components.postgres.settings import POOLER_PORT, PORT, REST_PORT

STATES = ("config", "failover", "leader", "sync")
"""Patroni keeps a shard's state in ConfigMaps of these suffixes."""
KEPT_STATES = ("config", "sync")
"""These say which data is the shard's and which copy holds every commit: they live as long as the claims do."""
POOLER = "pgbouncer"
BOOTSTRAP = "pg-bootstrap"
MOVE = "pg-move"


def role_rules(owner: Identity, copies: int) -> list[Manifest]:
    """Its own pods and its own state. Lists, watches and creations know no names: there the namespace is the bound."""
    return [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["pods"],
            "resourceNames": [f"{owner.name}-{copy}" for copy in range(copies)],
            "verbs": ["get", "patch", "update"],
        },
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "list", "watch"]},
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [f"{owner.name}-{state}" for state in STATES],
            "verbs": ["get", "patch", "update"],
        },
    ]


def shard_policy(owner: Identity, api_servers: Sequence[str]) -> Manifest:
    """In: PgBouncer and the Jobs, the shards (a bucket's new one follows its former one), monitoring. Out: the shards
    and the API server."""
    mine = {"podSelector": {"matchLabels": owner.selector()}}
    return {
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [shards(), _app(POOLER), _app(BOOTSTRAP), _app(MOVE)], "ports": tcp_ports(PORT)},
            {"from": [mine, _app(BOOTSTRAP), monitoring()], "ports": tcp_ports(REST_PORT)},
        ],
        "egress": [
            {"to": [mine], "ports": tcp_ports(PORT, REST_PORT)},
            {"to": [shards()], "ports": tcp_ports(PORT)},
            api_server(api_servers),
        ],
    }


def bootstrap_policy(owner: Identity) -> Manifest:
    """Nobody in; out to every shard."""
    return {
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [{"to": [shards()], "ports": tcp_ports(PORT, REST_PORT)}],
    }


def move_policy(owner: Identity, api_servers: Sequence[str]) -> Manifest:
    """Nobody in; out to every shard, to PgBouncer, whose readiness it asks, and to the API server."""
    return {
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "egress": [
            {"to": [shards()], "ports": tcp_ports(PORT)},
            {"to": [_app(POOLER)], "ports": tcp_ports(POOLER_PORT)},
            api_server(api_servers),
        ],
    }


def move_rules() -> list[Manifest]:
    """The Job finds PgBouncer's pods, removes those of its kind that are of another time, and shows how far it is.
    Names of Jobs follow their contents, so no rule can name them."""
    return [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["list", "delete", "patch"]},
    ]


def pooler_policy(owner: Identity, port: int, metrics_port: int, api_servers: Sequence[str]) -> Manifest:
    """In: the stack's own pods, monitoring. Out: every shard, and the API server, which tells of new primaries."""
    return {
        "podSelector": {"matchLabels": owner.selector()},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [
            {"from": [stack_namespaces(owner.stack)], "ports": tcp_ports(port)},
            {"from": [monitoring()], "ports": tcp_ports(metrics_port)},
        ],
        "egress": [{"to": [shards()], "ports": tcp_ports(PORT)}, api_server(api_servers)],
    }


def shards() -> Manifest:
    """A NetworkPolicy peer: the pods of every shard in this namespace."""
    return {"podSelector": {"matchLabels": {"app.kubernetes.io/component": "database"}}}


def _app(name: str) -> Manifest:
    return {"podSelector": {"matchLabels": {"app": name}}}
