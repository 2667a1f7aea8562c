"""What a pod knows of itself, and Patroni's configuration for it."""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUN = Path("/run/headroom")
"""Shared by the keeper and Patroni, in memory: it holds passwords and a private key."""
AUTHORITIES = RUN / "ca.crt"
AUTHORITY_SEED = "pgbouncerAuth"
"""The password that shards and PgBouncer both have."""
SECRETS = Path("/etc/headroom/passwords")
SETTINGS = Path("/etc/headroom/settings/settings.json")
DATA = "/var/lib/postgresql/data/pgdata"
SOCKETS = "/var/run/postgresql"
DATABASE = "features"
ROLES = {
    "postgresSuperuser": "postgres",
    "postgresReplication": "replicator",
    "postgresRewind": "rewinder",
    "postgresApp": "features",
    "pgbouncerAuth": "pooler",
}
"""Which database role logs in with which password of the stack."""
BOUND = {"sslmode": "require", "channel_binding": "require"}
"""The other end proves that it knows the role's verifier, and that this very TLS connection is its own."""
ANYWHERE = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True)
class Node:
    """One pod of a shard. `labels` are those that Patroni finds the shard's objects by."""

    scope: str
    name: str
    namespace: str
    address: str
    labels: Mapping[str, str]

    @staticmethod
    def of(environment: Mapping[str, str]) -> Node:
        """From the variables of the pod. Raises KeyError for one that is missing."""
        return Node(
            scope=environment["PATRONI_SCOPE"],
            name=environment["PATRONI_NAME"],
            namespace=environment["PATRONI_KUBERNETES_NAMESPACE"],
            address=environment["PATRONI_KUBERNETES_POD_IP"],
            labels=json.loads(environment["PATRONI_KUBERNETES_LABELS"]),
        )

    @property
    def host(self) -> str:
        """The address in a URL or a connection string's `host:port`."""
        return f"[{self.address}]" if ":" in self.address else self.address

    @property
    def names(self) -> list[str]:
        """What others call it, as a certificate has them: the shard's Services, its own name, its address."""
        services = [f"{self.scope}{suffix}" for suffix in ("", "-ro")] + [f"{self.name}.{self.scope}-pods"]
        return [*(f"DNS:{name}.{self.namespace}.svc" for name in services), f"IP:{self.address}", "IP:127.0.0.1"]


def passwords(folder: Path = SECRETS) -> dict[str, str]:
    """The passwords by their names, from a mounted Secret. Raises OSError when one is missing."""
    return {name: (folder / name).read_text().strip() for name in ROLES}


def rest_password(secret: Mapping[str, str]) -> str:
    """Patroni's REST API has a password of its own, which says nothing of the superuser's that it follows from."""
    return hmac.digest(secret["postgresSuperuser"].encode(), b"headroom patroni rest", "sha256").hex()


def patroni(node: Node, secret: Mapping[str, str], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Patroni's configuration. `settings` are the shard's dynamic ones, which only its first start takes from here."""
    rest = {"username": "patroni", "password": rest_password(secret)}
    return {
        "scope": node.scope,
        "name": node.name,
        "restapi": {
            "listen": "*:8008",
            "connect_address": f"{node.host}:8008",
            "certfile": str(RUN / "server.crt"),
            "keyfile": str(RUN / "server.key"),
            "authentication": rest,
        },
        # Members check each other's certificates before they say the password.
        "ctl": {"cacert": str(AUTHORITIES), "authentication": rest},
        "kubernetes": {
            "namespace": node.namespace,
            "labels": dict(node.labels),
            "scope_label": "app.kubernetes.io/name",
            "role_label": "role",
            "leader_label_value": "primary",
            "follower_label_value": "replica",
            "pod_ip": node.address,
            "use_endpoints": False,
        },
        "bootstrap": {
            "dcs": settings,
            "initdb": ["data-checksums", {"encoding": "UTF8"}, {"locale": "C.UTF-8"}],
        },
        "postgresql": {
            "listen": "*:5432",
            "connect_address": f"{node.host}:5432",
            "data_dir": DATA,
            "pgpass": "/tmp/pgpass",  # noqa: S108  a volume of the pod's own
            "use_unix_socket": True,
            "authentication": {
                # Used by the pod's own socket alone, where there is no channel to bind.
                "superuser": _login("postgresSuperuser", secret),
                "replication": _login("postgresReplication", secret) | BOUND,
                "rewind": _login("postgresRewind", secret) | BOUND,
            },
            "basebackup": [{"checkpoint": "fast"}],
            # What a rewind cannot mend is copied afresh from the primary, which holds every acknowledged commit.
            "remove_data_directory_on_rewind_failure": True,
            "remove_data_directory_on_diverged_timelines": True,
            "parameters": {
                "unix_socket_directories": SOCKETS,
                "ssl": "on",
                "ssl_cert_file": str(RUN / "server.crt"),
                "ssl_key_file": str(RUN / "server.key"),
                "ssl_min_protocol_version": "TLSv1.2",
            },
            "pg_hba": host_rules(),
        },
    }


def host_rules() -> list[str]:
    """Who may log in from where: over the network only with TLS and a password, each role only where it has work.

    By the pod's own socket only the superuser, as the system user that PostgreSQL runs as: Patroni and the keeper.
    """
    rules = [f"local postgres,{DATABASE} postgres peer"]
    for address in ANYWHERE:
        rules += [
            f"hostssl replication replicator {address} scram-sha-256",
            f"hostssl postgres rewinder {address} scram-sha-256",
            f"hostssl postgres,{DATABASE} postgres {address} scram-sha-256",
            f"hostssl {DATABASE} features,pooler {address} scram-sha-256",
            # Another shard, which follows a bucket that moves to it.
            f"hostssl {DATABASE} replicator {address} scram-sha-256",
        ]
    return rules


def _login(name: str, secret: Mapping[str, str]) -> dict[str, str]:
    return {"username": ROLES[name], "password": secret[name]}
