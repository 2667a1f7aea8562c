"""The room that a cluster lives in.

As root on Linux: network, mount and process namespaces of its own, joined to the machine by one wire (a veth pair). The
kernel takes back every process, mount, rule and interface in it when its process 1 ends, whatever happened before.
Else: the loopback interface, with ports that were free.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from ipaddress import IPv4Network
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local import processes
from headroom.local.processes import Process, last_line
from headroom.local.record import Record, overlapping

INIT = "room"

# In a network namespace of its own every port is free; elsewhere they are chosen.
PORTS = {
    "etcd": 2379,
    "etcd-peer": 2380,
    "kube-apiserver": 6443,
    "kube-controller-manager": 10257,
    "kube-scheduler": 10259,
    "kwok": 10247,
    "metrics-server": 4443,
    "custom-metrics": 6444,
    "custom-metrics-posts": 6445,
}

# What the kubelet would set for the whole machine is shown to it as set already.
KUBELET_SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
}
KUBELET_SETTINGS |= {"kernel/keys/root_maxkeys": "1000000", "kernel/keys/root_maxbytes": "25000000"}

HIDDEN = ("/run", "/var/lib", "/var/log")


def possible() -> bool:
    """Whether namespaces can be had: root on Linux with `ip`."""
    return sys.platform == "linux" and os.geteuid() == 0 and find_ip() is not None


def find_ip() -> str | None:
    return next((path for path in ("/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip") if Path(path).exists()), None)


def ip(*arguments: str, inside: Process | None = None) -> str:
    """Run `ip`, in a process's network namespace if one is given. Raises EnvironmentFailure with its own words."""
    enter = ["nsenter", f"--net=/proc/{inside.pid}/ns/net"] if inside else []
    done = subprocess.run([*enter, find_ip() or "ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentFailure(
            f"ip {' '.join(arguments)}: {last_line(done.stderr)}", fix="headroom local down, then up"
        )
    return done.stdout


def routes() -> list[IPv4Network]:
    """Every destination that this machine has a route or an address for."""
    found = json.loads(ip("-json", "-4", "route", "show", "table", "all"))
    return [network for route in found if (network := overlapping(route.get("dst", "")))]


def free_ports() -> dict[str, int]:
    """A free port on loopback for each of `PORTS`."""
    with contextlib.ExitStack() as open_sockets:
        chosen = {}
        for part in PORTS:
            listener = open_sockets.enter_context(socket.socket())
            listener.bind(("127.0.0.1", 0))
            chosen[part] = listener.getsockname()[1]
        return chosen


def enter(state: Path, record: Record, pause: Path) -> Process | None:
    """Make the room, or find it: its process 1, or None on loopback.

    A room whose process 1 is gone is made again, on the same addresses. Raises EnvironmentFailure when refused.
    """
    if record.room == "loopback":
        return None
    init = processes.living(state, INIT)
    if init is None:
        init = processes.start(state, INIT, [str(pause)], make=furniture(state))
        wait_for_mounts(state, init)
    wire(record, init)
    return init


def furniture(state: Path) -> dict[str, dict[str, str]]:
    """What the room sees in place of the machine's own folders; see `spawn.py`."""
    for folder in HIDDEN:
        if state.is_relative_to(folder):
            raise EnvironmentFailure(
                f"the cluster's state cannot lie in {folder}", fix="set XDG_STATE_HOME to a folder elsewhere"
            )
    hide = {"/run": "", "/var/lib": str(state / "node" / "lib"), "/var/log": str(state / "node" / "log")}
    for folder in filter(None, hide.values()):
        Path(folder).mkdir(parents=True, exist_ok=True)
    files = {}
    (state / "node" / "settings").mkdir(exist_ok=True)
    for name, value in KUBELET_SETTINGS.items():
        shown = state / "node" / "settings" / name.replace("/", ".")
        shown.write_text(f"{value}\n")
        files[f"/proc/sys/{name}"] = str(shown)
    return {"hide": hide, "files": files, "settings": {"/proc/sys/net/ipv4/ip_forward": "1"}}


def wait_for_mounts(state: Path, init: Process) -> None:
    """Wait until process 1 has become `pause`, for then all of `spawn.py`'s work in it is done."""
    deadline = time.monotonic() + 10
    while init.alive and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{init.pid}/exe").resolve().name == "tools":
                return
        time.sleep(0.005)
    raise EnvironmentFailure(
        f"could not make the cluster's namespaces: {processes.log_tail(state, INIT, 1)}",
        fix="a container must be privileged for this; as an ordinary user the cluster runs with fake nodes on loopback",
    )


def wire(record: Record, init: Process) -> None:
    """Lay the wire into the room if it is not there, and the routes at both ends."""
    if not Path(f"/sys/class/net/{record.interface}").exists():
        ip("link", "add", record.interface, "type", "veth", "peer", "name", "uplink", "netns", str(init.pid))
    inside = ip("-json", "-4", "address", "show", inside=init)
    if str(record.address) not in inside:
        ip("link", "set", "lo", "up", inside=init)
        ip("address", "add", f"{record.address}/30", "dev", "uplink", inside=init)
        ip("link", "set", "uplink", "up", inside=init)
        # Addresses of Services need a route before the rules of kube-proxy turn them into a pod's.
        ip("route", "add", str(record.services), "dev", "uplink", "src", str(record.address), inside=init)
        ip("route", "add", "unreachable", "default", inside=init)
    if str(record.uplink) not in ip("-json", "-4", "address", "show", "dev", record.interface):
        ip("address", "add", f"{record.uplink}/30", "dev", record.interface)
        ip("link", "set", record.interface, "up")
        ip("route", "add", str(record.block), "via", str(record.address), "dev", record.interface)


def leave(state: Path, record: Record | None, identity: str) -> None:
    """End every process of the cluster and remove its wire and cgroups. Finds them also without a record."""
    if init := processes.living(state, INIT):
        processes.stop_all([init])
    processes.stop_all(processes.parts(state).values())
    while strays := processes.strays(state):
        processes.stop_all(strays)
    if not possible():
        return
    interface = record.interface if record else f"hr-{identity}"
    deadline = time.monotonic() + 5
    # The kernel takes the wire back with the namespace, a moment after its last process.
    while Path(f"/sys/class/net/{interface}").exists():
        with contextlib.suppress(EnvironmentFailure):
            ip("link", "delete", interface)
        if time.monotonic() > deadline:
            raise EnvironmentFailure(f"the interface {interface} cannot be removed", fix=f"ip link delete {interface}")
        time.sleep(0.02)
