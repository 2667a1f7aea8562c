"""Which engine deploys: the Pulumi CLI when it is there or can be installed in seconds, else render and kubectl."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import subprocess
import sys
import time
from pathlib import Path

from headroom.engine.automation import AutomationEngine
from headroom.engine.kubectl import KubectlEngine
from headroom.engine.model import Engine, Target
from headroom.errors import EnvironmentFailure
from headroom.local import paths
from headroom.progress import Progress, step

REACH = 4.0
"""Seconds to find out whether the installer's host answers at all."""
INSTALL = 180.0
"""Seconds for the download, once it answers."""
FORGET = 24 * 3600.0
"""Seconds for which a failed attempt is remembered."""

_HOST = "https://get.pulumi.com/"
# In a process of its own: the installer has no time limit. It prints where it put the CLI.
_INSTALLER = f"""
import sys, urllib.request
urllib.request.urlopen(urllib.request.Request({_HOST!r}, method="HEAD"), timeout=float(sys.argv[1])).close()
print("reached", flush=True)
from pulumi.automation import PulumiCommand
PulumiCommand.install(root=sys.argv[2])
"""


def choose(target: Target, progress: Progress) -> Engine:
    """The engine for a target.

    HEADROOM_ENGINE=pulumi or kubectl decides; else the Pulumi CLI on PATH, else the one that the official installer
    put into the cache before or puts there now, else kubectl, which is said in one line.

    Raises EnvironmentFailure when HEADROOM_ENGINE asks for Pulumi and it cannot be had.
    """
    wanted = os.environ.get("HEADROOM_ENGINE", "")
    if wanted not in ("", "pulumi", "kubectl"):
        raise EnvironmentFailure(
            f"HEADROOM_ENGINE={wanted} is no engine", fix="set it to pulumi or kubectl, or unset it"
        )
    if wanted != "kubectl":
        if shutil.which("pulumi"):
            return AutomationEngine()
        installed = install(progress)
        if installed:
            return AutomationEngine(installed)
    if wanted == "pulumi":
        raise EnvironmentFailure(
            "the Pulumi CLI is not on PATH and its installer cannot be reached",
            fix="install it (https://www.pulumi.com/docs/iac/download-install/), or unset HEADROOM_ENGINE",
        )
    if not wanted:
        progress.note(f"no Pulumi CLI here: rendering the program, and kubectl applies it to {target.title}")
    return KubectlEngine()


def install(progress: Progress) -> Path | None:
    """Where the Pulumi CLI is in the cache, installed there if need be; None when that cannot be done now.

    A failure is remembered for a day, so that it costs seconds once.
    """
    root = paths.cache() / "pulumi"
    if (root / "bin" / "pulumi").is_file():
        return root
    failed = paths.cache() / "pulumi-installer-failed"
    if failed.exists() and 0 <= time.time() - failed.stat().st_mtime < FORGET:
        return None
    with contextlib.suppress(OSError):
        failed.unlink(missing_ok=True)
    if _try(root, progress):
        return root
    with contextlib.suppress(OSError):
        failed.parent.mkdir(parents=True, exist_ok=True)
        failed.write_text(
            "The official installer of the Pulumi CLI could not be reached. Remove this file to try again.\n"
        )
    return None


def _try(root: Path, progress: Progress) -> bool:
    done = "looked for the Pulumi CLI's installer"
    with step(progress, "looking for the Pulumi CLI's installer", done=done):
        process = subprocess.Popen(
            [sys.executable, "-c", _INSTALLER, str(REACH), str(root)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            return _reached(process) and _finished(process) and (root / "bin" / "pulumi").is_file()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if process.stdout:
                process.stdout.close()


def _reached(process: subprocess.Popen[bytes]) -> bool:
    """Whether the host answered in time. The name lookup is not under the request's own time limit, so it is here."""
    with selectors.DefaultSelector() as selector:
        assert process.stdout is not None  # noqa: S101  it is a pipe
        selector.register(process.stdout, selectors.EVENT_READ)
        return bool(selector.select(REACH * 1.5)) and process.stdout.readline() == b"reached\n"


def _finished(process: subprocess.Popen[bytes]) -> bool:
    try:
        return process.wait(INSTALL) == 0
    except subprocess.TimeoutExpired:
        return False
