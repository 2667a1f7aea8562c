"""Run a build's programs in a room of their own.

A mount and process namespace each: whatever a program mounts or starts ends with it, also when we are killed, so a
half-built image leaves no mount behind.
"""

from __future__ import annotations

import os
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from headroom.errors import EnvironmentFailure

# setpriv: the kernel kills unshare if we die; unshare: it kills the room's first process, and with that all others.
ROOM = ("setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


def run(
    command: Sequence[str],
    *,
    log: Path,
    each_line: Callable[[str], None] = lambda line: None,
    env: Mapping[str, str] | None = None,
    isolated: bool = True,
) -> str:
    """Run `command` to its end, its output appended to `log` and given line by line to `each_line`.

    Returns the last line of the output. Raises EnvironmentFailure with the last lines when it fails.
    """
    last: deque[str] = deque(maxlen=12)
    with log.open("a", encoding="utf-8") as file:
        process = subprocess.Popen(
            [*(ROOM if isolated else ()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
        )
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        try:
            for line in process.stdout:
                file.write(line)
                if line.strip():
                    last.append(line.rstrip())
                    each_line(last[-1])
        except BaseException:
            process.kill()
            # Its end of the pipe closes when the last process of the room is gone.
            process.stdout.read()
            process.wait()
            raise
        code = process.wait()
    if code != 0:
        said = "\n  ".join(last)
        raise EnvironmentFailure(f"{command[0]} failed with exit code {code}:\n  {said}", fix=f"all it said: {log}")
    return last[-1] if last else ""
