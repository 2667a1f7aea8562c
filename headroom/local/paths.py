"""Where the embedded cluster keeps things. Always read from the environment when asked, so tests can move it."""

from __future__ import annotations

import os
import re
from pathlib import Path

from headroom.errors import InputError

NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
RECORD = "cluster.json"


def clusters() -> Path:
    """The folder that holds one folder a cluster: `$XDG_STATE_HOME/headroom`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state").absolute() / "headroom"


def state(name: str) -> Path:
    """The one folder of a cluster. Raises InputError for a name that no Kubernetes object could have."""
    if not NAME.fullmatch(name):
        raise InputError(
            f"a cluster cannot be called {name!r}", fix="use up to 40 lower-case letters, digits and dashes"
        )
    return clusters() / name


def cache() -> Path:
    """The folder of what is built or fetched once: `$HEADROOM_CACHE`."""
    return Path(os.environ.get("HEADROOM_CACHE") or Path.home() / ".cache" / "headroom").absolute()
