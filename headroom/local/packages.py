"""Debian packages that the embedded cluster and the image builds need, installed by the command itself.

Only as root on Debian or Ubuntu, and only after saying which; elsewhere the person is told what to install.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from headroom.errors import EnvironmentFailure
from headroom.progress import Progress, step

# With this script in place a package's own scripts start no service: what we start runs in a room of its own.
POLICY = Path("/usr/sbin/policy-rc.d")
POLICY_TEXT = "#!/bin/sh\n# headroom: no service starts while its packages are installed\nexit 101\n"
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "-o", "Dpkg::Use-Pty=0", "--yes", "--quiet")


def ensure(packages: Sequence[str], progress: Progress) -> None:
    """Have every Debian package of `packages` installed; those that are there already cost milliseconds.

    Raises EnvironmentFailure on a system without apt, without root, or when apt fails.
    """
    wanted = missing(packages)
    if not wanted:
        return
    names = " ".join(wanted)
    if not can_install():
        raise EnvironmentFailure(
            f"programs of these Debian packages are missing: {names}",
            fix=f"on Debian or Ubuntu: sudo apt-get install --no-install-recommends {names}; "
            "elsewhere: install what they provide with your system's packages",
        )
    progress.note(f"installing Debian packages: {names}")
    with step(progress, f"installing {len(wanted)} Debian packages (seconds to a minute)", "Debian packages installed"):
        if not all(_has_candidate(name) for name in wanted):
            _apt(progress, "update")
        with _no_services():
            try:
                _apt(progress, "install", "--no-install-recommends", *wanted)
            except EnvironmentFailure:
                # The lists may name versions that the mirror has replaced since.
                _apt(progress, "update")
                _apt(progress, "install", "--no-install-recommends", *wanted)


def missing(packages: Sequence[str]) -> list[str]:
    """Those of `packages` that dpkg does not have installed, in order; all of them where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return list(packages)
    listed = subprocess.run(
        ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *packages],
        capture_output=True,
        text=True,
        check=False,
    )
    installed = {line.split()[0] for line in listed.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in packages if name not in installed]


def can_install() -> bool:
    """Whether this process may install Debian packages here: root, and apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None and shutil.which("dpkg-query") is not None


def _has_candidate(name: str) -> bool:
    found = subprocess.run(["apt-cache", "show", "--no-all-versions", name], capture_output=True, check=False)
    return found.returncode == 0


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep packages from starting services while they are installed. A policy that is there already is left alone."""
    ours = not POLICY.exists() or POLICY.read_text(encoding="utf-8", errors="replace") == POLICY_TEXT
    if ours:
        POLICY.write_text(POLICY_TEXT, encoding="utf-8")
        POLICY.chmod(0o755)
    try:
        yield
    finally:
        if ours:
            POLICY.unlink(missing_ok=True)


def _apt(progress: Progress, *arguments: str) -> None:
    """Run apt-get, its lines as details. dpkg is never cut in the middle: an interrupt waits until it has finished."""
    process = subprocess.Popen(
        [*APT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    lines: list[str] = []
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    try:
        for line in process.stdout:
            lines.append(line.rstrip())
            progress.detail(lines[-1])
    except BaseException:
        process.communicate()
        raise
    if process.wait() != 0:
        said = "\n  ".join([line for line in lines if line.startswith(("E:", "W:"))][-3:] or lines[-3:])
        raise EnvironmentFailure(
            f"apt-get {arguments[0]} failed:\n  {said}",
            fix="see that the network and /etc/apt/sources.list.d work: apt-get update",
        )
