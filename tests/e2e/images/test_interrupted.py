"""A build that is cut off leaves no process and no mount; its files are gone when the next one starts at the latest."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headroom.local.images import store
from headroom.progress import Silent

pytestmark = pytest.mark.e2e

BUILD = "from headroom.local import images; from headroom.progress import Silent; images.build('redis', Silent())"
SECONDS = 300


def users_of(folder: Path) -> list[str]:
    """Processes that name `folder` on their command line or hold a mount in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(folder) in (process / "cmdline").read_text() or str(folder) in (process / "mounts").read_text():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="making a base image needs root")
@pytest.mark.parametrize("ended_by", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended_by: signal.Signals) -> None:
    monkeypatch.setenv("HEADROOM_CACHE", str(tmp_path))
    build = subprocess.Popen([sys.executable, "-c", BUILD], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + SECONDS
    # proc is mounted, and packages are being installed
    while not list(tmp_path.glob("images/work-*/base-root/var/lib/dpkg/info/*")):
        assert build.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    build.send_signal(ended_by)
    assert build.wait(timeout=SECONDS) != 0
    while users_of(tmp_path):
        assert time.monotonic() < deadline, users_of(tmp_path)
        time.sleep(0.05)
    if ended_by == signal.SIGINT:
        assert not list(tmp_path.glob("images/work-*"))
    with store.locked(Silent()):
        assert not list(tmp_path.glob("images/work-*"))
    assert not list(tmp_path.glob("images/*.tar"))
