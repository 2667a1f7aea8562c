"""The cluster's certificates, made once by the `pki` tool. Keys lie in the state folder, for its user only."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local.processes import last_line
from headroom.local.record import Record

# Who may do what follows from the names below; the API server gives these rights to them from the first start.
CLIENTS = {
    "admin": ("headroom-admin", "system:masters"),
    "kube-controller-manager": ("system:kube-controller-manager", ""),
    "kube-scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kubelet-client": ("kube-apiserver-kubelet-client", "system:masters"),
}


def ensure(state: Path, record: Record, tool: Path, node: str) -> None:
    """Issue every key pair into `<state>/pki`, unless they are there."""
    folder = state / "pki"
    if folder.exists():
        return
    service = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    addresses = ["localhost", "127.0.0.1", str(record.address), str(record.services[1]), *service]
    wanted: list[dict[str, object]] = [
        {"name": "ca", "commonName": "headroom"},
        {"name": "front-proxy-ca", "commonName": "headroom-front-proxy"},
        {"name": "service-accounts", "keyOnly": True},
        {"name": "server", "authority": "ca", "commonName": "kube-apiserver", "addresses": addresses},
        {"name": "node-server", "authority": "ca", "commonName": node, "addresses": [node, str(record.address)]},
        {"name": "front-proxy", "authority": "front-proxy-ca", "commonName": "front-proxy-client"},
        client("kubelet", f"system:node:{node}", "system:nodes"),
        *(client(name, user, group) for name, (user, group) in CLIENTS.items()),
    ]
    new = state / "pki.new"
    new.mkdir(mode=0o700, exist_ok=True)
    done = subprocess.run([str(tool), str(new)], input=json.dumps(wanted), capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentFailure(
            f"could not make the cluster's certificates: {last_line(done.stderr)}", fix="see whether the disk is full"
        )
    new.replace(folder)


def client(name: str, user: str, group: str) -> dict[str, object]:
    return {"name": name, "authority": "ca", "commonName": user, "organizations": [group] if group else []}


def kubeconfig(state: Path, record: Record, client_name: str, context: str) -> Path:
    """Write a kubeconfig that holds all it needs, readable by its user only; gives its path."""
    folder = state / "pki"

    def inline(file: str) -> str:
        return base64.b64encode((folder / file).read_bytes()).decode()

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": context, "cluster": {"server": record.server, "certificate-authority-data": inline("ca.crt")}}
        ],
        "users": [
            {
                "name": context,
                "user": {
                    "client-certificate-data": inline(f"{client_name}.crt"),
                    "client-key-data": inline(f"{client_name}.key"),
                },
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    }
    path = state / ("kubeconfig" if client_name == "admin" else f"run/{client_name}.kubeconfig")
    path.parent.mkdir(exist_ok=True)
    text = json.dumps(content, indent=2)
    if path.exists() and path.read_text() == text:
        return path
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_TRUNC), "w") as file:
        file.write(text)
    new.replace(path)
    return path
