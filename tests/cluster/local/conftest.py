"""Clusters with a state folder of their own, and a count of everything that a cluster could leave on a machine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headroom import local
from headroom.local import cgroups, machine, processes, record, room

Census = dict[str, set[str]]


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that clusters of this test keep their state in."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def names(states: Path) -> Iterator[list[str]]:
    """Names of clusters that the test may start: taken down after it, whatever happened."""
    given = ["one", "two"]
    yield given
    for name in given:
        local.down(name)


@pytest.fixture
def census(states: Path) -> Callable[[], Census]:
    """Counts what is on this machine now of the kinds of things that a cluster makes."""

    def of_this_test(line: str) -> bool:
        return str(states) in line or any(room_name(states / "headroom" / name) in line for name in ("one", "two"))

    def count() -> Census:
        running = [pid for name in ("one", "two") for pid in processes.strays(states / "headroom" / name)]
        mounts = Path("/proc/self/mounts").read_text().splitlines()
        links = [link["ifname"] for link in json.loads(room.ip("-json", "link"))] if room.possible() else []
        routes = json.loads(room.ip("-json", "route")) if room.possible() else []
        groups = [
            str(path) for name in ("one", "two") for path in cgroups.existing(cgroup_name(states / "headroom" / name))
        ]
        return {
            "processes": {str(process.pid) for process in running},
            "mounts": set(filter(of_this_test, mounts)),
            "interfaces": set(filter(of_this_test, links)),
            "routes": {str(route) for route in routes if of_this_test(route.get("dev", ""))},
            "cgroups": set(groups),
            "namespaces": named_namespaces(),
            "rules": firewall(),
            "files": {str(path) for path in states.rglob("*")} | machine_files(),
        }

    return count


def room_name(state: Path) -> str:
    return f"hr-{record.identity(state)}"


def cgroup_name(state: Path) -> str:
    return f"headroom-{record.identity(state)}"


def named_namespaces() -> set[str]:
    folder = Path("/run/netns")
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def firewall() -> set[str]:
    """The rules of this machine itself, where it has the means to have any."""
    command = machine.which("iptables-save")
    if command is None or not room.possible():
        return set()
    listed = subprocess.run([command], capture_output=True, text=True, check=False).stdout
    return {line for line in listed.splitlines() if line.startswith("-")}


def machine_files() -> set[str]:
    """Files in the folders that a kubelet, containerd and CNI usually use."""
    folders = [Path("/var/lib/kubelet"), Path("/var/lib/cni"), Path("/var/log/pods"), Path("/var/log/containers")]
    folders += [Path("/etc/cni"), Path("/run/containerd"), Path("/var/lib/containerd"), Path("/run/flannel")]
    return {str(path) for folder in folders if folder.is_dir() for path in folder.rglob("*")}
