"""A stack file as the Pulumi CLI hands it to a program: one string a key, structured values as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

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
    name = _mapping(file).get("name")
    if not isinstance(name, str) or not name:
        raise InputError(f"{file} has no name", fix="add `name: headroom`")
    return name


def load(file: Path, project: str, secrets: Mapping[str, Any] | None = None) -> StackConfig:
    """Read the `config:` of a stack file.

    A key without a colon gets the project's prefix. A `secure:` value takes the value given for it in `secrets` (full
    key, and the path inside a structured value after dots: `headroom:postgres.password`), else a placeholder; either
    way its key is secret. Keys of `secrets` that the file does not have are added, as secrets.

    Raises InputError when the file cannot be read or is no stack file.
    """
    config = _mapping(file).get("config") or {}
    if not isinstance(config, dict):
        raise InputError(f"{file}: `config` must be a mapping of keys to values, not {type(config).__name__}")
    given = {_full(k, project): v for k, v in (secrets or {}).items()}
    values: dict[str, str] = {}
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
            values[full] = _text(plain)
    for key, value in given.items():
        if key not in used:
            values[key] = _text(value)
            secret.add(key)
    return StackConfig(values, frozenset(secret), tuple(sorted(missing)))


def _full(key: str, project: str) -> str:
    return key if ":" in key else f"{project}:{key}"


def _mapping(file: Path) -> dict[str, Any]:
    try:
        content = YAML(typ="safe").load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error
    except (YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is not valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{file} must be a mapping, not {type(content).__name__}")
    return content


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
