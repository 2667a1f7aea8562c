"""The command where its surroundings are not as usual: locale, output, folders. No tracebacks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEADROOM = Path(sys.executable).with_name("headroom")
FULL = Path("/dev/full")


def run(*args: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [HEADROOM, *args], capture_output=True, cwd=cwd, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("form", ["table", "json", "markdown"])
@pytest.mark.parametrize("encoding", ["ascii", "iso-8859-1"])
def test_a_locale_without_our_signs_shows_others(encoding: str, form: str) -> None:
    done = run("plan", "--format", form, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "for p99 ? 250 ms" in done.stdout.decode(encoding)


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("args", ["plan", "plan --format json", "plan --help", "--version"])
def test_a_full_disk_is_told(args: str) -> None:
    with FULL.open("w") as full:
        done = subprocess.run(
            [HEADROOM, *args.split()], stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT, check=False
        )
    assert done.returncode == 1
    assert done.stderr.startswith("error: what is to be written finds no room")
    assert "Traceback" not in done.stderr and "Exception ignored" not in done.stderr


@pytest.mark.parametrize("args", ["local status", "local up --nodes fake", "verify", "up", "checklist"])
def test_a_state_folder_that_is_a_file_is_told_by_its_variable(args: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("x")
    done = run(*args.split(), XDG_STATE_HOME=str(file))
    told = done.stderr.decode()
    assert done.returncode == 1
    assert str(file) in told and "set XDG_STATE_HOME to a folder" in told
    assert "Traceback" not in told


def test_a_folder_that_was_deleted_is_told(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f'rmdir "{gone}" && exec "{HEADROOM}" plan'
    done = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, cwd=gone, check=False)
    assert done.returncode == 2
    assert "the current folder is not there any more" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_flows_and_shows_every_default() -> None:
    told = run("diff", "--help", COLUMNS="200", TERMINAL_WIDTH="200").stdout.decode()
    assert "where this left main" in told and "(all)" in told
    assert "no Pulumi CLI and no secrets, and shows none. Exits 2 when a stack cannot be compared" in told
    assert "(all)" in run("doctor", "--help").stdout.decode()
    assert "where this left main" in run("checklist", "--help", COLUMNS="200").stdout.decode()
    verify = run("verify", "--help", COLUMNS="200").stdout.decode().splitlines()
    assert sum("headroom verify --stack" in line for line in verify) == 2, "a line an example"
