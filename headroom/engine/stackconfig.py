"""A stack file as the Pulumi CLI hands it to a program: one string a key, structured values as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headroom import stackfile
from headroom.backend import secrets as backend_secrets
from headroom.capacity.parts import PARTS
from headroom.errors import InputError

PLACEHOLDER = "(secret: not known here)"


@dataclass(frozen=True)
class StackConfig:
    """`values` are what `pulumi.Config` reads; `secret_keys` are marked secret; `placeholders` are those of them
    (with the path inside, after a dot) whose value is encrypted in the file and was not given by the caller."""

    values: Mapping[str, str]
    secret_keys: frozenset[str]
    placeholders: tuple[str, ...]


def project_name(folder: Path) -> str:
    """The project's name, from its `Pulumi.yaml`. Raises InputError when there is none."""
    file = folder / "Pulumi.yaml"
    name = stackfile.document(file).get("name")
    if not isinstance(name, str) or not name:
        raise InputError(f"{file} has no name", fix="add `name: headroom`")
    return name


def load(file: Path, project: str, secrets: Mapping[str, Any] | None = None) -> StackConfig:
    """Read the `config:` of a stack file.

    A key without a colon gets the project's prefix. A `secure:` value takes the value given for it in `secrets` (full
    key, and the path inside a structured value after dots: `headroom:secrets.redisApp`, or nested the same way), else
    a placeholder; either way its key is secret. What `secrets` has and the file has not is added, as a secret.

    Raises InputError when the file cannot be read or is no stack file.
    """
    config = stackfile.document(file).get("config") or {}
    if not isinstance(config, dict):
        raise InputError(f"{file}: `config` must be a mapping of keys to values, not {type(config).__name__}")
    given = {path: v for k, value in (secrets or {}).items() for path, v in leaves(_full(k, project), value)}
    values: dict[str, Any] = {}
    secret: set[str] = set()
    missing: list[str] = []
    used: set[str] = set()
    for key, value in config.items():
        full = _full(str(key), project)
        found: list[str] = []
        plain = _reveal(value, full, given, found)
        if found:
            secret.add(full)
            used.update(found)
            missing += [path for path in found if path not in given]
        if plain is not None:
            values[full] = plain
    for path, value in given.items():
        if path not in used:
            secret.add(_put(values, path, value))
    return StackConfig({k: _text(v) for k, v in values.items()}, frozenset(secret), tuple(sorted(missing)))


def with_passwords(config: StackConfig) -> StackConfig:
    """With a placeholder for each password that the stack's parts need and nobody gave: it can be looked at before
    `headroom secrets init`, but not applied. A part with an `existingSecret` needs none."""
    if "headroom:environment" not in config.values:  # another program than ours
        return config
    parts = {part: config.values.get(f"headroom:{part}") for part in PARTS}
    if parts["postgres"]:
        parts["pgbouncer"] = parts["pgbouncer"] or "{}"
    needing = {part for part, text in parts.items() if text and "existingSecret" not in _object(text)}
    held = _object(config.values.get(backend_secrets.CONFIG_KEY, "{}"))
    missing = [name for name in backend_secrets.required(needing) if name not in held]
    if not missing:
        return config
    if held and backend_secrets.CONFIG_KEY not in config.secret_keys:  # in the clear: the program refuses it
        return config
    values = {**config.values, backend_secrets.CONFIG_KEY: _text({**held, **dict.fromkeys(missing, PLACEHOLDER)})}
    return StackConfig(
        values,
        config.secret_keys | {backend_secrets.CONFIG_KEY},
        tuple(sorted({*config.placeholders, *(f"{backend_secrets.CONFIG_KEY}.{name}" for name in missing)})),
    )


def _object(text: str) -> dict[str, Any]:
    """JSON of an object; what is none is for the checks of the stack file to refuse."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values inside `value` with the path of each, `key.inner.deeper`."""
    if isinstance(value, Mapping):
        for k, v in value.items():
            yield from leaves(f"{path}.{k}", v)
    else:
        yield path, value


def _put(values: dict[str, Any], path: str, value: Any) -> str:
    """Set the value at a path, making the objects on the way; returns the config key that it is in."""
    key, *inner = path.split(".")
    place: dict[str, Any] = values
    for following in inner:
        place[key] = dict(place.get(key) or {})
        place, key = place[key], following
    place[key] = value
    return path.partition(".")[0]


def _full(key: str, project: str) -> str:
    return key if ":" in key else f"{project}:{key}"


def _reveal(value: Any, path: str, given: Mapping[str, Any], found: list[str]) -> Any:
    """The value with every `{secure: …}` inside replaced; the paths of those are appended to `found`."""
    if isinstance(value, dict):
        if set(value) == {"secure"}:
            found.append(path)
            return given.get(path, PLACEHOLDER)
        return {str(k): _reveal(v, f"{path}.{k}", given, found) for k, v in value.items()}
    if isinstance(value, list):
        return [_reveal(v, f"{path}.{i}", given, found) for i, v in enumerate(value)]
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    # The CLI prints dates and the like as they stand in the file; JSON has no form for them.
    return json.dumps(value, default=str, separators=(",", ":"), ensure_ascii=False)
