"""What this machine can do for a cluster, and what it lacks."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local import packages
from headroom.local.processes import environment
from headroom.progress import Progress

# What a real node runs, and the Debian package that has it.
PROGRAMS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "containerd-shim-runc-v2": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "iptables-restore": "iptables",
    "conntrack": "conntrack",
    "nsenter": "util-linux",
    "ip": "iproute2",
}
PLUGINS = ("ptp", "host-local", "loopback", "portmap")
PLUGIN_FOLDERS = (Path("/usr/lib/cni"), Path("/opt/cni/bin"), Path("/usr/libexec/cni"))
CGROUPS = Path("/sys/fs/cgroup")
# The controllers that the kubelet will not start without, where each has a hierarchy of its own (cgroup v1).
CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "pids")


def which(program: str) -> str | None:
    """The path of a program as the cluster's processes would find it."""
    return shutil.which(program, path=environment(Path("/"))["PATH"])


def plugins() -> Path | None:
    """The folder of the CNI plugins."""
    return next((folder for folder in PLUGIN_FOLDERS if all((folder / name).exists() for name in PLUGINS)), None)


def missing() -> list[str]:
    """The Debian packages that a real node needs and this machine lacks."""
    lacking = {package for program, package in PROGRAMS.items() if not which(program)}
    if plugins() is None:
        lacking.add("containernetworking-plugins")
    return sorted(lacking)


def no_real_node() -> str:
    """Why this machine cannot run a real node, apart from packages; empty when it can."""
    if sys.platform != "linux":
        return f"real nodes need Linux, and this is {platform.system()}"
    if os.geteuid() != 0:
        return "real nodes need root"
    v1 = [name for name in CONTROLLERS if not (CGROUPS / name).is_dir()]
    if v1 and not (CGROUPS / "cgroup.controllers").is_file():
        return f"no cgroup controllers in {CGROUPS}: {', '.join(v1)}"
    if not os.access(CGROUPS, os.W_OK) and not os.access(CGROUPS / "pids", os.W_OK):
        return f"{CGROUPS} is read-only"
    return ""


def install(wanted: list[str], progress: Progress) -> None:
    """Install Debian packages. Raises EnvironmentFailure with what to install when that cannot be done."""
    packages.ensure(wanted, progress)
    if still := missing():
        raise EnvironmentFailure(
            f"a real node needs programs that this machine lacks, of these Debian packages: {', '.join(still)}",
            fix="install containerd 1.6 or later, runc, the CNI plugins, iptables and conntrack, or use --nodes fake",
        )
