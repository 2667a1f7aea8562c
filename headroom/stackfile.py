"""A stack file as a whole document, for those who pass it on; only `headroom.capacity.demand` reads its meaning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from headroom.capacity.demand import source
from headroom.errors import InputError


def document(file: Path) -> dict[str, Any]:
    """The document of a YAML file as plain data; empty for an empty file.

    Its size, depth and aliases are bounded before a loader that follows them sees it. Raises InputError.
    """
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}", fix="name a stack file that exists") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text", fix="save it as UTF-8") from error
    if len(text) > source.LARGEST:
        raise InputError(f"{file} is larger than {source.LARGEST // 1024 // 1024} MiB", fix="is it a stack file?")
    source.parse(text, file.name)
    try:
        content = YAML(typ="safe").load(text)
    except YAMLError as error:
        raise InputError(f"{file} is not valid YAML: {error}", fix="correct the file") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise InputError(f"{file} must be a mapping, not {type(content).__name__}", fix="write `config:` and its keys")
    return content
