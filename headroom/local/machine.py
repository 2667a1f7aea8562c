"""What this machine can do for a cluster, and what it lacks."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local.processes import environment, last_line
from headroom.progress import Progress, step

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


def debian() -> bool:
    """Whether packages can be had with apt-get by this process."""
    return which("apt-get") is not None and os.geteuid() == 0


def install(packages: list[str], progress: Progress) -> None:
    """Install Debian packages. Raises EnvironmentFailure with what to install when that cannot be done."""
    by_hand = (
        f"install {', '.join(packages)} (containerd 1.6 or later, runc, the CNI plugins, iptables), or use --nodes fake"
    )
    if not debian():
        raise EnvironmentFailure("a real node needs programs that this machine lacks", fix=by_hand)
    progress.note(f"installing Debian packages that a real node needs: {', '.join(packages)}")
    env = environment(Path("/")) | {"DEBIAN_FRONTEND": "noninteractive"}
    with step(progress, f"installing {', '.join(packages)} (about a minute, once)", "packages installed"):
        for command in (["update"], ["install", "--yes", "--no-install-recommends", *packages]):
            done = subprocess.run(
                ["apt-get", "--quiet", *command],
                capture_output=True,
                text=True,
                check=False,
                env=env | {name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
            )
            if done.returncode and command != ["update"]:
                raise EnvironmentFailure(f"apt-get: {last_line(done.stderr)}", fix=by_hand)
    if missing():
        raise EnvironmentFailure(f"still missing after the installation: {', '.join(missing())}", fix=by_hand)
