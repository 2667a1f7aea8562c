"""Breaking things on purpose on the real node, for tests of what must survive it.

Every fault of a pod is undone by its opposite, or goes with the pod; all of them go with the cluster.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal

from headroom.errors import EnvironmentFailure, InputError
from headroom.local import cgroups, cluster, containers, processes, record
from headroom.local.kube import Api
from headroom.local.machine import CGROUPS
from headroom.local.model import Cluster
from headroom.local.record import identity
from headroom.progress import Silent


def freeze(on: Cluster, namespace: str, pod: str) -> None:
    """Stop every process of a pod in place, as a machine that hangs does: connections stay open, nothing answers."""
    set_frozen(on, namespace, pod, frozen=True)


def thaw(on: Cluster, namespace: str, pod: str) -> None:
    """Let a frozen pod go on."""
    set_frozen(on, namespace, pod, frozen=False)


@contextlib.contextmanager
def frozen(on: Cluster, namespace: str, pod: str) -> Iterator[None]:
    """A pod frozen for the length of the block."""
    freeze(on, namespace, pod)
    try:
        yield
    finally:
        thaw(on, namespace, pod)


def kill(on: Cluster, namespace: str, pod: str, container: str | None = None) -> int:
    """SIGKILL the processes of a pod's containers, or of one; gives how many. The kubelet restarts what died."""
    found = get(on, namespace, pod)
    statuses = [
        status for status in found["status"]["containerStatuses"] if container is None or status["name"] == container
    ]
    if not statuses:
        raise InputError(f"pod {pod} has no container {container}")
    killed = 0
    for status in statuses:
        container_id = status["containerID"].rpartition("/")[2]
        for pid in pids(pod_cgroup(on, found, "pids") / container_id):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
    return killed


def cut(on: Cluster, namespace: str, pod: str) -> None:
    """Drop all traffic between a pod and the others, the API server and DNS; the kubelet's probes still pass."""
    for rule in rules(get(on, namespace, pod)["status"]["podIP"]):
        containers.inside(on.state, ["iptables", "--wait", "--insert", *rule])


def mend(on: Cluster, namespace: str, pod: str) -> None:
    """Undo `cut`."""
    for rule in rules(get(on, namespace, pod)["status"]["podIP"]):
        containers.inside(on.state, ["iptables", "--wait", "--delete", *rule])


@contextlib.contextmanager
def cut_off(on: Cluster, namespace: str, pod: str) -> Iterator[None]:
    """A pod cut off for the length of the block."""
    address = get(on, namespace, pod)["status"]["podIP"]
    cut(on, namespace, pod)
    try:
        yield
    finally:
        # The pod may have been deleted meanwhile; its address is what the rules know.
        for rule in rules(address):
            containers.inside(on.state, ["iptables", "--wait", "--delete", *rule])


def stop(on: Cluster, part: Literal["kubelet", "containerd", "kube-proxy", "coredns"]) -> None:
    """SIGKILL one of the node's processes; pods live on. `start` brings it back."""
    process = processes.living(on.state, part)
    if process is None:
        raise EnvironmentFailure(f"{part} does not run", fix="headroom local up")
    processes.stop_all([process])


def start(on: Cluster) -> None:
    """Start whatever of the cluster does not run."""
    cluster.up(on.name, progress=Silent())


def restart(on: Cluster, part: Literal["kubelet", "containerd", "kube-proxy", "coredns"]) -> None:
    """SIGKILL one of the node's processes and start it again."""
    stop(on, part)
    start(on)


def rules(address: str) -> list[list[str]]:
    """The arguments of iptables that part an address from the rest, without the command."""
    return [
        ["FORWARD", "--source", address, "--jump", "DROP"],
        ["FORWARD", "--destination", address, "--jump", "DROP"],
        # What the pod began towards the node itself; answers to the kubelet's probes pass.
        ["INPUT", "--source", address, "--match", "conntrack", "--ctdir", "ORIGINAL", "--jump", "DROP"],
    ]


def get(on: Cluster, namespace: str, pod: str) -> dict[str, Any]:
    """A pod as the API has it. Raises InputError when there is none, or the nodes are fake."""
    containers.require_real(on)
    found = record.load(on.state)
    if found is None:
        raise EnvironmentFailure(f"cluster {on.name} is gone", fix="headroom local up")
    status, body = Api(found.server, on.state).get(f"/api/v1/namespaces/{namespace}/pods/{pod}")
    if status != HTTPStatus.OK:
        raise InputError(f"there is no pod {pod} in {namespace}")
    return dict(json.loads(body))


def pod_cgroup(on: Cluster, pod: dict[str, Any], controller: str) -> Path:
    """The cgroup of a pod in a controller's hierarchy. Raises EnvironmentFailure when it has none on this node."""
    root = CGROUPS if cgroups.unified() else CGROUPS / controller
    group = f"pod{pod['metadata']['uid']}"
    found = next((root / f"headroom-{identity(on.state)}").glob(f"**/{group}"), None)
    if found is None:
        raise EnvironmentFailure(f"pod {pod['metadata']['name']} runs nothing here", fix="wait until it is Running")
    return found


def pids(group: Path) -> list[int]:
    """The processes of a cgroup and of those below it, as seen from the machine."""
    files = [group / "cgroup.procs", *group.glob("**/cgroup.procs")]
    return sorted({int(pid) for file in files if file.exists() for pid in file.read_text().split()})


def set_frozen(on: Cluster, namespace: str, pod: str, *, frozen: bool) -> None:
    group = pod_cgroup(on, get(on, namespace, pod), "freezer")
    if cgroups.unified():
        (group / "cgroup.freeze").write_text(str(int(frozen)))
        return
    wanted = "FROZEN" if frozen else "THAWED"
    (group / "freezer.state").write_text(wanted)
    deadline = time.monotonic() + 5
    while (group / "freezer.state").read_text().strip() != wanted:
        if time.monotonic() > deadline:
            raise EnvironmentFailure(
                f"pod {pod} does not become {wanted}", fix="see whether its processes are stuck on a disk"
            )
        time.sleep(0.01)
