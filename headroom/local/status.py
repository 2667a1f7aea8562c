"""What runs on a cluster and how to reach it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headroom.errors import EnvironmentFailure
from headroom.local import cluster, paths, processes, record, starting
from headroom.local.fakenodes import ANNOTATION
from headroom.local.kube import Api


@dataclass(frozen=True)
class NodeStatus:
    name: str
    ready: bool
    fake: bool
    version: str


@dataclass(frozen=True)
class PodStatus:
    namespace: str
    name: str
    phase: str
    ready: bool
    node: str
    fake: bool
    """On a fake node: the pod is an object only, no software runs in it."""


@dataclass(frozen=True)
class ServiceStatus:
    namespace: str
    name: str
    ports: tuple[int, ...]
    reach: str
    """A URL-like `address:port` from this machine with a real node; else empty, as nothing listens."""


@dataclass(frozen=True)
class Status:
    """A cluster seen now. `memory` is the resident bytes of each process of the control plane and the node."""

    name: str
    nodes_are: Literal["real", "fake"]
    server: str
    kubeconfig: Path
    kubectl: Path
    nodes: tuple[NodeStatus, ...]
    pods: tuple[PodStatus, ...]
    services: tuple[ServiceStatus, ...]
    memory: dict[str, int]
    stopped: tuple[str, ...]
    """Processes that were started and no longer run; `up` starts them again."""

    @property
    def control_plane_bytes(self) -> int:
        return sum(self.memory.values())

    def __str__(self) -> str:
        return "\n".join(lines(self))


def status(name: str = "headroom") -> Status:
    """Look at a cluster. Raises EnvironmentFailure when it does not run or its API server does not answer."""
    state = paths.state(name)
    found = record.load(state)
    if found is None:
        raise EnvironmentFailure(f"there is no cluster {name}", fix=f"headroom local up --name {name}")
    known = processes.parts(state)
    stopped = tuple(part for part, process in known.items() if not process.alive)
    api = Api(found.server, state)
    try:
        nodes = tuple(map(node_status, api.items("/api/v1/nodes")))
        fake = {node.name for node in nodes if node.fake}
        pods = tuple(pod_status(item, fake) for item in api.items("/api/v1/pods"))
        services = tuple(service_status(item, found.nodes) for item in api.items("/api/v1/services"))
    except OSError as problem:
        gone = f" (ended: {', '.join(stopped)})" if stopped else ""
        raise EnvironmentFailure(
            f"the API server of cluster {name} does not answer{gone}", fix="headroom local up repairs it"
        ) from problem
    described = cluster.describe(name, state, found)
    return Status(
        name=name,
        nodes_are=found.nodes,
        server=found.server,
        kubeconfig=described.kubeconfig,
        kubectl=described.kubectl,
        nodes=nodes,
        pods=pods,
        services=services,
        memory={part: resident(process.pid) for part, process in known.items() if process.alive},
        stopped=stopped,
    )


def node_status(item: dict[str, Any]) -> NodeStatus:
    return NodeStatus(
        name=item["metadata"]["name"],
        ready=starting.is_ready(item),
        fake=ANNOTATION in item["metadata"].get("annotations", {}),
        version=item["status"].get("nodeInfo", {}).get("kubeletVersion", ""),
    )


def pod_status(item: dict[str, Any], fake_nodes: set[str]) -> PodStatus:
    conditions = item["status"].get("conditions", [])
    node = item["spec"].get("nodeName", "")
    return PodStatus(
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        phase=item["status"].get("phase", ""),
        ready=any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions),
        node=node,
        fake=node in fake_nodes,
    )


def service_status(item: dict[str, Any], nodes: str) -> ServiceStatus:
    ports = tuple(port["port"] for port in item["spec"].get("ports", []))
    address = item["spec"].get("clusterIP", "None")
    reachable = nodes == "real" and address not in ("", "None") and ports
    return ServiceStatus(
        namespace=item["metadata"]["namespace"],
        name=item["metadata"]["name"],
        ports=ports,
        reach=f"{address}:{ports[0]}" if reachable else "",
    )


def resident(pid: int) -> int:
    """The resident memory of a process in bytes; 0 when it cannot be told."""
    try:
        fields = Path(f"/proc/{pid}/status").read_text().split("VmRSS:")
    except OSError:
        return 0
    return int(fields[1].split()[0]) * 1024 if len(fields) > 1 else 0


def lines(seen: Status) -> list[str]:
    """The status in plain lines."""
    ready = sum(node.ready for node in seen.nodes)
    kinds = "fake nodes: pods are objects only, no software runs in them" if seen.nodes_are == "fake" else "a real node"
    phases: dict[tuple[str, str], int] = {}
    for pod in seen.pods:
        where = f"{pod.phase}{' (fake)' if pod.fake else ''}"
        phases[pod.namespace, where] = phases.get((pod.namespace, where), 0) + 1
    return [
        f"cluster {seen.name}, {kinds}",
        f"API server  {seen.server}",
        f"nodes       {ready} of {len(seen.nodes)} ready",
        *(f"pods        {count} {phase} in {namespace}" for (namespace, phase), count in sorted(phases.items())),
        *(f"service     {item.namespace}/{item.name} at {item.reach}" for item in seen.services if item.reach),
        f"memory      {seen.control_plane_bytes / 2**20:.0f} MiB in {len(seen.memory)} processes of the cluster itself",
        *([f"ended       {', '.join(seen.stopped)}; headroom local up starts them again"] if seen.stopped else []),
        f"kubectl     {shlex.quote(str(seen.kubectl))} --kubeconfig {shlex.quote(str(seen.kubeconfig))}",
    ]
