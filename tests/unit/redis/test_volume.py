"""One server a volume, also while the pod before has not ended yet."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from headroom_redis import volume  # type: ignore[import-not-found]

IMAGE = Path(__file__).resolve().parents[3] / "images" / "redis"
OLDER = """
import pathlib, sys
from headroom_redis import process, volume
held = volume.hold(pathlib.Path(sys.argv[1]), "server")
print("held", flush=True)
process.supervise(["sh", "-c", "echo child $$; exec cat"], lambda: None, 1, [held])
"""
NEWER = """
import pathlib, sys
from headroom_redis import volume
volume.hold(pathlib.Path(sys.argv[1]), "server")
print("held", flush=True)
"""


def start(program: str, folder: Path) -> subprocess.Popen[str]:
    pipe = subprocess.PIPE
    command = [sys.executable, "-c", program, str(folder)]
    return subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env={**os.environ, "PYTHONPATH": str(IMAGE)}
    )


def test_a_successor_waits_for_the_server_itself(tmp_path: Path) -> None:
    older = start(OLDER, tmp_path)
    assert older.stdout is not None
    assert older.stdout.readline() == "held\n"
    assert older.stdout.readline().startswith("child ")
    newer = start(NEWER, tmp_path)
    assert newer.stderr is not None
    assert newer.stdout is not None
    assert "waiting until it has ended" in newer.stderr.readline()
    older.kill()  # its server lives on and holds the volume
    older.wait()
    assert newer.poll() is None
    assert older.stdin is not None
    older.stdin.close()  # now that ends, too
    assert newer.stdout.readline() == "held\n"
    assert newer.wait() == 0


def test_other_names_do_not_wait(tmp_path: Path) -> None:
    assert volume.hold(tmp_path, "server") != volume.hold(tmp_path, "sentinel")
