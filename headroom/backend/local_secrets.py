"""The passwords of the embedded cluster: made on first use, kept in a file that only the user can read.

They need no Pulumi CLI, and live and die with the cluster's state folder.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headroom.backend import secrets
from headroom.errors import EnvironmentFailure, InputError

FILE = "secrets.json"


def ensure_local(path: Path, components: set[str]) -> dict[str, str]:
    """The secrets that `components` need, by name; those that `path` lacks are generated and added to it.

    `path` is made with mode 0600 in a folder of mode 0700, and tightened to that when it is wider. Values stay the
    same from call to call. Raises EnvironmentFailure when it cannot be read or written.
    """
    wanted = secrets.required(components)
    with _locked(path):
        held = _read(path)
        missing = {name: secrets.generate() for name in wanted if name not in held}
        if missing:
            held |= missing
            _write(path, held)
    return {name: held[name] for name in wanted}


def rotate_local(path: Path, name: str, *, dry_run: bool = False) -> None:
    """Give the secret `name` a new value; in a dry run only see that it could have one.

    Raises InputError when there is no file, or no such secret in it.
    """
    if not path.exists():  # looked at before the lock, which would make the folder of a cluster that there is not
        cluster = path.parent.name
        others = sorted(found.parent.name for found in path.parent.parent.glob(f"*/{FILE}"))
        raise InputError(
            f"the embedded cluster {cluster} has no secrets: there is no {path}",
            fix=(f"--cluster with one of {', '.join(others)}; or " if others else "")
            + f"headroom up --name {cluster}, which makes them",
        )
    with _locked(path):
        held = _read(path)
        secrets.check_name(name, {known: secrets.REQUIRED[known] for known in held if known in secrets.REQUIRED})
        if not dry_run:
            _write(path, {**held, name: secrets.generate()})


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One reader or writer at a time, so that two `headroom up` never make two sets of passwords."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise EnvironmentFailure(
            f"{path} cannot be read or written: {error}", fix=f"make {path.parent} yours and writable"
        ) from error


def _read(path: Path) -> dict[str, str]:
    if not path.exists():
        return {}
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    try:
        held = json.loads(path.read_text())
    except ValueError as error:
        held = error
    if not isinstance(held, dict) or not all(isinstance(value, str) for value in held.values()):
        # Without the parser's words: they may quote the file.
        raise EnvironmentFailure(
            f"{path} holds no secrets that can be read",
            fix="restore it; or remove it and make the cluster afresh (headroom local down, then up)",
        )
    return held


def _write(path: Path, held: dict[str, str]) -> None:
    # mkstemp makes the file with mode 0600 from the start.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    beside = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            json.dump(held, file, indent=2, sort_keys=True)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
