"""What a machine cannot do, or an earlier cluster left: one message with the way out, and nothing is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headroom import local
from headroom.errors import EnvironmentFailure
from headroom.local import cgroups, cluster, machine, packages, paths, processes, record, room, starting


class Notes:
    """Progress that keeps its notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def begin(self, text: str) -> None: ...
    def detail(self, text: str) -> None: ...
    def end(self, text: str, *, ok: bool) -> None: ...
    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HEADROOM_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.fixture
def able(folders: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that can have a real node, as far as it can be seen; the folder of its cgroups."""
    (folders / "cgroup").mkdir()
    (folders / "cgroup" / "cgroup.controllers").touch()
    monkeypatch.setattr(machine, "CGROUPS", folders / "cgroup")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(machine, "missing", list)
    assert cluster.choose("real", Notes()) == "real"
    return folders / "cgroup"


def refused(reason: str) -> EnvironmentFailure:
    """Real nodes are refused for the reason, and `auto` takes fake ones and says the same."""
    with pytest.raises(EnvironmentFailure, match=reason) as failure:
        local.up("one", nodes="real")
    assert not paths.clusters().exists(), "something was left"
    told = Notes()
    assert cluster.choose("auto", told) == "fake"
    assert len(told.notes) == 1 and reason in told.notes[0] and "no software runs" in told.notes[0]
    return failure.value


def test_without_root(able: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "--nodes fake" in refused("real nodes need root").fix


def test_on_another_system(able: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    refused("real nodes need Linux")


def test_without_cgroups(able: Path) -> None:
    (able / "cgroup.controllers").unlink()
    refused("no cgroup controllers in")


def test_without_programs_where_none_can_be_installed(able: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "missing", lambda: ["conntrack", "runc"])
    monkeypatch.setattr(packages, "can_install", lambda: False)
    assert "install what they provide" in refused("missing: conntrack, runc").fix


def test_a_cgroup_that_cannot_be_made(able: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "CGROUPS", able)
    with pytest.raises(EnvironmentFailure, match="cannot make the cgroup no-folder/headroom: No such file") as failure:
        cgroups.make("no-folder/headroom")
    assert "--nodes fake" in failure.value.fix


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ("write /var/lib/etcd: no space left on device", "free some space"),
        ("listen tcp :6443: bind: address already in use", "start again, and others are chosen"),
        ("panic", "headroom local down, then headroom local up"),
    ],
)
def test_last_words_of_a_process_decide_the_way_out(said: str, fix: str, folders: Path) -> None:
    (folders / "logs").mkdir()
    (folders / "logs" / "etcd.log").write_text(f"start\n{said}\nend\n")
    assert fix in starting.hint(folders, "etcd")


@pytest.mark.parametrize(
    ("content", "note"),
    [
        (b"{ not JSON", "of another version"),
        (b'{"layout": 1}', "of another version"),
        ("layout", "of another version"),
        (None, "without its record"),
    ],
)
def test_what_an_old_cluster_left_is_taken_down_first(
    content: bytes | str | None, note: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half alive: a process of it runs, and its record is broken, of another layout, or gone."""
    monkeypatch.setattr(room, "possible", lambda: False)
    state = paths.state("old")
    state.mkdir(parents=True)
    old = record.Record(
        layout=record.LAYOUT - 1,
        id=record.identity(state),
        nodes="fake",
        fake_nodes=1,
        room="loopback",
        network=200,
        ports=room.PORTS,
    )
    if content is not None:
        text = old.model_dump_json().encode() if isinstance(content, str) else content
        (state / paths.RECORD).write_bytes(text)
    left = processes.start(state, "etcd", ["/bin/sleep", "60"])
    told = Notes()
    try:
        assert cluster.known(state, told) is None
        assert not left.alive
        assert list(state.iterdir()) == []
    finally:
        processes.stop_all([left])
    assert len(told.notes) == 1 and note in told.notes[0]
