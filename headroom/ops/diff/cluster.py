"""Which cluster a stack file leads to, and what it means that it leads to another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from headroom import stackfile
from headroom.errors import HeadroomError
from headroom.ops.diff.model import Danger, Snapshot, State

_SHOWN = ("kubernetes:context", "kubernetes:cluster")
_HIDDEN = ("kubernetes:kubeconfig",)


def of(file: Path) -> Mapping[str, str]:
    """What a stack file says of its cluster. A kubeconfig holds credentials, so only its digest is kept.

    Empty for a file that cannot be read: whoever plans it says why.
    """
    try:
        config = stackfile.document(file).get("config")
    except (HeadroomError, OSError):
        return {}
    if not isinstance(config, dict):
        return {}
    said = {key: _text(key, config[key]) for key in (*_SHOWN, *_HIDDEN) if config.get(key) is not None}
    return dict(sorted(said.items()))


def marked(state: State, file: Path) -> State:
    """The state with the cluster that its stack file leads to."""
    return replace(state, cluster=of(file)) if isinstance(state, Snapshot) else state


def dangers(before: Snapshot, after: Snapshot) -> Iterator[Danger]:
    """The stack goes elsewhere."""
    for key in sorted(before.cluster.keys() | after.cluster.keys()):
        old, new = before.cluster.get(key), after.cluster.get(key)
        if old == new:
            continue
        # Two texts that are encrypted differ even where they say the same.
        words = "changes" if key in _HIDDEN or _is_digest(old) or _is_digest(new) else f"goes from {old} to {new}"
        if old is None or new is None:
            words = "is new" if old is None else "goes"
            words += "" if key in _HIDDEN or _is_digest(old or new) else f" ({old or new})"
        yield Danger(
            "deletion",
            key,
            f"{words}: the stack goes to another cluster, and what runs on the former one stays there, without anyone "
            "who manages it",
        )


def _text(key: str, value: Any) -> str:
    if key in _SHOWN and isinstance(value, str):
        return value if len(value) <= 200 else f"{value[:197]}…"
    return "sha256:" + hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def _is_digest(text: str | None) -> bool:
    return text is not None and text.startswith("sha256:")
