"""A cluster's life with fake nodes: up, up again, repair, two at once, and nothing left, whatever happened half-way."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from headroom import local
from headroom.errors import EnvironmentFailure, InputError
from headroom.local import paths, processes, record, room

pytestmark = pytest.mark.cluster

Census = Callable[[], dict[str, set[str]]]


class Recorder:
    """Progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...
    def end(self, text: str, *, ok: bool) -> None: ...
    def note(self, text: str) -> None:
        self.notes.append(text)


def kubectl(cluster: local.Cluster, *arguments: str) -> str:
    command = [str(cluster.kubectl), "--kubeconfig", str(cluster.kubeconfig), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def test_up_is_idempotent_and_down_leaves_nothing(
    names: list[str], census: Census, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    # A home of the test's own shows that nothing is written to `~/.kube` or elsewhere.
    monkeypatch.setenv("HEADROOM_CACHE", str(paths.cache()))
    monkeypatch.setenv("HOME", str(home))
    before = census()
    cluster = local.up(names[0], nodes="fake")
    during = census()
    assert during["processes"]
    assert during["files"] > before["files"]
    pids = {part: process.pid for part, process in processes.parts(cluster.state).items()}
    assert local.up(names[0], nodes="fake") == cluster == local.find(names[0])
    assert {part: process.pid for part, process in processes.parts(cluster.state).items()} == pids
    assert cluster.kubeconfig.stat().st_mode & 0o077 == 0
    assert cluster.state.stat().st_mode & 0o077 == 0
    version = json.loads(kubectl(cluster, "version", "-o", "json"))
    assert version["serverVersion"]["gitVersion"] == version["clientVersion"]["gitVersion"] == "v1.35.4"
    seen = local.status(names[0])
    assert [(node.ready, node.fake) for node in seen.nodes] == [(True, True)] * 3
    assert "no software runs" in str(seen)
    assert seen.control_plane_bytes > 100 * 2**20
    local.down(names[0])
    assert census() == before
    assert local.find(names[0]) is None
    assert list(home.iterdir()) == []
    local.down(names[0])


@pytest.mark.parametrize(
    "parts", [("kube-apiserver",), ("etcd", "kwok"), ("kube-controller-manager", "kube-scheduler")]
)
def test_up_repairs_what_died_and_keeps_the_objects(parts: tuple[str, ...], names: list[str]) -> None:
    cluster = local.up(names[0], nodes="fake", fake_nodes=1)
    kubectl(cluster, "create", "configmap", "kept", "--from-literal=a=b")
    alive = processes.parts(cluster.state)
    processes.stop_all([alive[part] for part in parts])
    assert set(local.status(names[0]).stopped) >= {"kwok"} if "kwok" in parts and "etcd" not in parts else True
    assert local.up(names[0]) == cluster
    after = processes.parts(cluster.state)
    assert all(after[part].alive and after[part] != alive[part] for part in parts)
    assert "kept" in kubectl(cluster, "get", "configmaps")


def test_up_after_the_end_of_everything_keeps_the_objects(names: list[str]) -> None:
    """As after a restart of the machine: the state is there, and no process."""
    cluster = local.up(names[0], nodes="fake", fake_nodes=1)
    kubectl(cluster, "create", "configmap", "kept", "--from-literal=a=b")
    processes.stop_all(processes.parts(cluster.state).values())
    with pytest.raises(EnvironmentFailure, match="does not answer"):
        local.status(names[0])
    assert local.up(names[0]) == cluster
    assert "kept" in kubectl(cluster, "get", "configmaps")


def test_up_makes_a_cluster_again_that_cannot_be_repaired(names: list[str]) -> None:
    cluster = local.up(names[0], nodes="fake", fake_nodes=1)
    processes.stop_all(processes.parts(cluster.state).values())
    for file in (cluster.state / "etcd").rglob("*.snap"):
        file.write_bytes(b"broken")
    for file in (cluster.state / "etcd").rglob("db"):
        file.write_bytes(b"broken" * 4096)
    told = Recorder()
    again = local.up(names[0], fake_nodes=1, progress=told)
    assert local.status(names[0]).nodes[0].ready
    assert again.name == names[0]
    assert len([note for note in told.notes if "making it again" in note]) == 1


def test_number_of_fake_nodes_follows(names: list[str]) -> None:
    local.up(names[0], nodes="fake", fake_nodes=2)
    local.up(names[0], fake_nodes=5)
    assert sorted(node.name for node in local.status(names[0]).nodes) == [f"fake-{number}" for number in range(5)]
    cluster = local.up(names[0], fake_nodes=1)
    assert [node.name for node in local.status(names[0]).nodes] == ["fake-0"]
    assert local.up(names[0]) == cluster


def test_two_clusters_at_once_know_nothing_of_each_other(names: list[str], census: Census) -> None:
    before = census()
    one, two = (local.up(name, nodes="fake", fake_nodes=1) for name in names)
    assert one.server != two.server
    kubectl(one, "create", "configmap", "only-in-one", "--from-literal=a=b")
    assert "only-in-one" not in kubectl(two, "get", "configmaps")
    local.down(names[0])
    assert local.status(names[1]).nodes[0].ready
    local.down(names[1])
    assert census() == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("part", ["etcd", "kube-apiserver", "kwok"])
def test_nothing_is_left_when_up_is_ended_half_way(
    number: signal.Signals, part: str, names: list[str], census: Census, states: Path
) -> None:
    before = census()
    program = f"from headroom import local; local.up({names[0]!r}, nodes='fake')"
    starter = subprocess.Popen([sys.executable, "-c", program], env=os.environ, stderr=subprocess.DEVNULL)
    state = states / "headroom" / names[0]
    deadline = time.monotonic() + 60
    while processes.recorded(state, part) is None:
        assert starter.poll() is None, "up ended by itself"
        assert time.monotonic() < deadline, f"{part} never started"
        time.sleep(0.005)
    starter.send_signal(number)
    assert starter.wait(60) != 0
    if number == signal.SIGKILL:
        assert census()["processes"], "nothing ran when it was killed: the test shows nothing"
        local.down(names[0])
    assert census() == before


def test_up_carries_on_after_a_killed_up(names: list[str], states: Path) -> None:
    program = f"from headroom import local; local.up({names[0]!r}, nodes='fake', fake_nodes=1)"
    starter = subprocess.Popen([sys.executable, "-c", program], env=os.environ)
    while processes.recorded(states / "headroom" / names[0], "kube-apiserver") is None:
        assert starter.poll() is None
        time.sleep(0.005)
    starter.kill()
    starter.wait()
    local.up(names[0], fake_nodes=1)
    assert local.status(names[0]).nodes[0].ready


def test_down_finds_what_lost_its_records(names: list[str], census: Census, states: Path) -> None:
    before = census()
    cluster = local.up(names[0], nodes="fake", fake_nodes=1)
    (cluster.state / paths.RECORD).unlink()
    for file in (cluster.state / "run").glob("*.json"):
        file.unlink()
    local.down(names[0])
    assert census() == before


def test_down_never_kills_a_later_process_with_a_recorded_pid(names: list[str]) -> None:
    cluster = local.up(names[0], nodes="fake", fake_nodes=1)
    with subprocess.Popen(["sleep", "600"]) as bystander:
        (cluster.state / "run" / "kwok.json").write_text(json.dumps({"pid": bystander.pid, "started": "1"}))
        local.down(names[0])
        assert bystander.poll() is None
        bystander.kill()


def test_other_nodes_than_those_that_run_are_refused(names: list[str]) -> None:
    local.up(names[0], nodes="fake", fake_nodes=1)
    with pytest.raises(EnvironmentFailure, match="runs with fake nodes"):
        local.up(names[0], nodes="real")
    assert local.status(names[0]).nodes[0].ready


def test_name_that_cannot_be_is_refused(states: Path) -> None:
    with pytest.raises(InputError, match="cannot be called"):
        local.up("../elsewhere")
    assert not states.exists()


def test_without_root_it_runs_on_loopback(names: list[str], census: Census, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "possible", lambda: False)
    before = census()
    one, two = (local.up(name, nodes="fake", fake_nodes=1) for name in names)
    assert one.server.startswith("https://127.0.0.1:")
    assert one.server != two.server
    assert "fake-0" in kubectl(two, "get", "nodes")
    local.down(names[0])
    local.down(names[1])
    assert census() == before


def test_port_taken_meanwhile_is_passed_by(names: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "possible", lambda: False)
    cluster = local.up(names[0], nodes="fake", fake_nodes=1)
    processes.stop_all(processes.parts(cluster.state).values())
    found = record.load(cluster.state)
    assert found is not None
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", found.ports["kube-apiserver"]))
        other.listen()
        again = local.up(names[0], fake_nodes=1)
    assert again.server != cluster.server
    assert local.status(names[0]).nodes[0].ready


def test_state_where_it_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if not room.possible():
        pytest.skip("only namespaces hide folders")
    monkeypatch.setenv("XDG_STATE_HOME", "/var/lib/headroom-test")
    with pytest.raises(EnvironmentFailure, match="cannot lie in /var/lib"):
        local.up("one", nodes="fake")
    assert not Path("/var/lib/headroom-test/headroom").exists()
    Path("/var/lib/headroom-test").rmdir()


def test_full_disk_is_one_message_and_nothing_is_left(names: list[str], census: Census, states: Path) -> None:
    if not room.possible():
        pytest.skip("a small disk of one's own needs root")
    states.mkdir()
    before = census()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(states)], check=True)
    try:
        with pytest.raises(EnvironmentFailure) as failure:
            local.up(names[0], nodes="fake")
        assert "space" in str(failure.value) or "disk" in str(failure.value)
        assert not census()["processes"]
    finally:
        subprocess.run(["umount", str(states)], check=True)
    assert census() == before
