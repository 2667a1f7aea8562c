"""A cluster with a real node comes and goes: nothing of it is left on the machine, also after a killed `up`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headroom import local
from headroom.local import cgroups, containers, faults, machine, processes, record, room

pytestmark = pytest.mark.e2e

NAME = "life"
Census = Callable[[], dict[str, set[str]]]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The state folder that a cluster of this test gets; the cluster is taken down after it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    yield tmp_path / "state" / "headroom" / NAME
    local.down(NAME)


@pytest.fixture
def census(state: Path) -> Census:
    """What there is on this machine now of the kinds of things that a real node makes."""
    identity = record.identity(state)

    def lines(*command: str) -> set[str]:
        return set(subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines())

    def own(found: set[str]) -> set[str]:
        return {line for line in found if identity in line or str(state) in line}

    def count() -> dict[str, set[str]]:
        folders = ["/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/run/containerd", "/etc/cni", "/run/netns"]
        return {
            "processes": {str(process.pid) for process in processes.strays(state)},
            "mounts": own(set(Path("/proc/self/mounts").read_text().splitlines())),
            "interfaces": {
                link["ifname"] for link in json.loads(room.ip("-json", "link")) if identity in link["ifname"]
            },
            "routes": own(lines("ip", "route", "show", "table", "all")),
            "rules": {line for line in lines("iptables-save") if line.startswith("-")},
            "cgroups": {str(group) for group in cgroups.existing(f"headroom-{identity}")},
            "files": {str(path) for path in state.parent.parent.rglob("*")},
            "files of others": {str(path) for folder in folders for path in Path(folder).rglob("*")},
        }

    return count


def run_pod(cluster: local.Cluster, toolbox: Path) -> None:
    image = "localhost/headroom-toolbox:1"
    local.import_image(cluster, toolbox, image)
    assert image in containers.images(cluster)
    command = [str(cluster.kubectl), "run", "server", f"--image={image}", "--image-pull-policy=Never", "--", "serve"]
    subprocess.run(command, check=True, capture_output=True)
    waiting = [str(cluster.kubectl), "wait", "--for=condition=Ready", "pod/server", "--timeout=90s"]
    subprocess.run(waiting, check=True, capture_output=True)


def test_down_leaves_nothing_with_a_pod_running(state: Path, census: Census, toolbox: Path) -> None:
    before = census()
    cluster = local.up(NAME, nodes="real")
    run_pod(cluster, toolbox)
    during = census()
    assert all(during[kind] > before[kind] for kind in ("processes", "interfaces", "routes", "cgroups", "files"))
    # Mounts and rules are there, but in the cluster's own namespaces.
    assert during["mounts"] == before["mounts"]
    assert during["rules"] == before["rules"]
    local.down(NAME)
    assert census() == before


@pytest.mark.parametrize("part", ["containerd", "kubelet", "kube-proxy"])
def test_nothing_is_left_after_a_killed_up(part: str, state: Path, census: Census) -> None:
    before = census()
    program = f"from headroom import local; local.up({NAME!r}, nodes='real')"
    starter = subprocess.Popen([sys.executable, "-c", program], env=os.environ)
    while processes.recorded(state, part) is None:
        assert starter.poll() is None
        time.sleep(0.005)
    starter.kill()
    starter.wait()
    assert census()["processes"]
    local.down(NAME)
    assert census() == before


def test_up_repairs_a_node_whose_processes_all_died(state: Path, toolbox: Path) -> None:
    cluster = local.up(NAME, nodes="real")
    run_pod(cluster, toolbox)
    init = processes.living(state, room.INIT)
    assert init is not None
    processes.stop_all([init])
    assert local.up(NAME) == cluster
    deadline = time.monotonic() + 120
    while not (found := faults.get(cluster, "default", "server"))["status"]["containerStatuses"][0]["restartCount"]:
        assert time.monotonic() < deadline, f"the pod did not come back: {found['status']}"
        time.sleep(0.5)


def test_fake_nodes_beside_the_real_one_take_only_pods_that_ask(state: Path, toolbox: Path) -> None:
    cluster = local.up(NAME, nodes="real", fake_nodes=2)
    seen = local.status(NAME)
    assert sorted((node.name, node.fake) for node in seen.nodes) == [
        ("fake-0", True),
        ("fake-1", True),
        ("node-0", False),
    ]
    run_pod(cluster, toolbox)
    assert faults.get(cluster, "default", "server")["spec"]["nodeName"] == "node-0"


def test_machine_lacks_nothing_after_up(state: Path) -> None:
    local.up(NAME)
    assert machine.no_real_node() == ""
    assert machine.missing() == []
    assert local.status(NAME).nodes_are == "real"
