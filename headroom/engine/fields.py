"""Which fields differ between two states of an object."""

from __future__ import annotations

from typing import Any

from headroom.engine.model import FieldChange
from headroom.engine.rendered import Manifest

# What the API server writes by itself.
_SERVERS = ("managedFields", "resourceVersion", "generation", "creationTimestamp", "uid", "selfLink")


def changed(before: Manifest, after: Manifest) -> tuple[FieldChange, ...]:
    """The fields that differ, with paths like `spec.template.spec.containers[inference].image`. Values of Secrets are
    left out."""
    found: list[FieldChange] = []
    _compare("", _comparable(before), _comparable(after), found)
    if after.get("kind") == "Secret":
        return tuple(FieldChange(f.path) if f.path.startswith("data") else f for f in found)
    return tuple(found)


def forces_replacement(change: FieldChange, patterns: tuple[str, ...]) -> bool:
    """Whether a change is at or under one of the paths of `replace_on_changes` (`*` is every path)."""
    return any(p in ("*", change.path) or change.path.startswith((f"{p}.", f"{p}[")) for p in patterns)


def _comparable(manifest: Manifest) -> Manifest:
    metadata = {k: v for k, v in manifest["metadata"].items() if k not in _SERVERS}
    return {k: v for k, v in manifest.items() if k != "status"} | {"metadata": metadata}


def _compare(path: str, before: Any, after: Any, found: list[FieldChange]) -> None:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted(before.keys() | after.keys()):
            _compare(_join(path, key), before.get(key), after.get(key), found)
    elif isinstance(before, list) and isinstance(after, list):
        ours, theirs = _keyed(before), _keyed(after)
        for key in [*theirs, *(k for k in ours if k not in theirs)]:
            _compare(f"{path}[{key}]", ours.get(key), theirs.get(key), found)
    else:
        found.append(FieldChange(path, before, after))


def _join(path: str, key: str) -> str:
    quoted = f'["{key}"]' if "." in key else key
    return quoted if not path else f"{path}{quoted}" if quoted.startswith("[") else f"{path}.{quoted}"


def _keyed(items: list[Any]) -> dict[str, Any]:
    """List elements by name where all of them have one of their own, else by position."""
    names = [i.get("name") if isinstance(i, dict) else None for i in items]
    if all(isinstance(n, str) for n in names) and len(set(names)) == len(names):
        return {str(n): i for n, i in zip(names, items, strict=True)}
    return {str(n): i for n, i in enumerate(items)}
