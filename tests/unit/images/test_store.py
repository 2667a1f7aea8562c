"""The cache: nothing is left half-way, whatever ends a build."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headroom.errors import EnvironmentFailure
from headroom.local.images import room, store
from headroom.progress import Silent

IN_A_ROOM = pytest.mark.skipif(
    shutil.which("setpriv") is None
    or subprocess.run([*room.ROOM, "true"], capture_output=True, check=False).returncode != 0,
    reason="a room of its own needs Linux and root",
)


def test_a_workspace_is_gone_after_an_interrupt(cache: Path) -> None:
    with pytest.raises(KeyboardInterrupt), store.locked(Silent()), store.workspace() as work:
        (work / "half").write_text("an image", encoding="utf-8")
        raise KeyboardInterrupt
    assert [path.name for path in cache.iterdir()] == ["lock"]


def test_what_a_killed_build_left_is_removed_by_the_next(cache: Path) -> None:
    killed = (
        "import os, signal\nfrom headroom.local.images import store\nfrom headroom.progress import Silent\n"
        "with store.locked(Silent()), store.workspace() as work:\n"
        "    (work / 'half').write_text('x')\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == -9
    assert list(cache.glob("work-*"))
    with store.locked(Silent()):
        assert not list(cache.glob("work-*"))


def test_too_little_room_is_said_before_anything_starts(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "NEEDED_BYTES", 2**62)
    with pytest.raises(EnvironmentFailure, match="HEADROOM_CACHE"), store.workspace():
        pass


def test_a_cache_that_cannot_be_made_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("HEADROOM_CACHE", str(tmp_path / "file"))
    with pytest.raises(EnvironmentFailure, match="set HEADROOM_CACHE"):
        store.folder()


def test_two_archives_of_an_image_are_kept(cache: Path) -> None:
    for number, digest in enumerate(("a" * 12, "b" * 12, "c" * 12)):
        store.archive("redis", digest).write_text("", encoding="utf-8")
        os.utime(store.archive("redis", digest), (number, number))
    store.archive("h2o", "a" * 12).write_text("", encoding="utf-8")
    store.prune("redis")
    assert sorted(path.name[0:7] for path in cache.glob("*.tar")) == ["h2o-aaa", "redis-b", "redis-c"]


def test_a_program_that_fails_is_quoted_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(EnvironmentFailure, match=f"(?s)exit code 3.*no such package.*{log}"):
        room.run(["sh", "-c", "echo no such package; exit 3"], log=log, isolated=False)


@IN_A_ROOM
def test_an_interrupt_ends_every_process_and_mount_of_the_room(tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    mark = str(time.time_ns())
    (tmp_path / "mounted").mkdir()
    script = f"mount -t tmpfs {mark} {tmp_path}/mounted && echo mounted && sleep {mark}"
    with pytest.raises(KeyboardInterrupt):
        room.run(["sh", "-c", script], log=tmp_path / "log", each_line=interrupt)
    for process in Path("/proc").glob("[0-9]*"):
        try:
            assert mark not in (process / "cmdline").read_text()
            assert mark not in (process / "mounts").read_text()
        except OSError:
            continue
