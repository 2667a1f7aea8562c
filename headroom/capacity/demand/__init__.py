"""What a stack asks for, read and checked. The only code that reads a stack's config.

`load(stack, file)` reads a stack file, `from_config(stack, mapping)` what Pulumi hands a program; both give a frozen
`StackDemand` or raise one `InputError` that names each key by its full path, the value, the rule and a fix.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from headroom.capacity import quantities
from headroom.capacity.demand import encrypted, source
from headroom.capacity.demand.encrypted import SECRETS
from headroom.capacity.demand.problem import PREFIX, closest, refuse, value_text
from headroom.capacity.demand.services import ServiceDemand
from headroom.capacity.demand.stack import StackDemand
from headroom.errors import InputError

__all__ = ["ServiceDemand", "StackDemand", "from_config", "load", "months"]

_KEYS = frozenset(f.alias or n for n, f in StackDemand.model_fields.items()) - {"stack"}
# How like ours a prefix must be to be taken for a slip of the pen: any key, and a key that is called as one of ours.
_ALIKE, _ALIKE_WITH_OUR_KEY = 0.85, 0.6


def load(stack: str, file: Path) -> StackDemand:
    """The demand of a stack file (`Pulumi.<stack>.yaml`). Raises InputError, also for a secret in the clear and
    for an encrypted value that is none of the passwords."""
    config = source.read(file)
    for key in config:
        if ":" not in key and key in _KEYS | {SECRETS}:
            raise InputError(f"{file.name}: config.{key} has no prefix", fix=f"write {PREFIX}{key}")
    _check_secrets(config.get(f"{PREFIX}{SECRETS}", {}))
    encrypted.check_file(stack, file.name, config)
    return from_config(stack, config)


def from_config(stack: str, mapping: Mapping[str, Any]) -> StackDemand:
    """The demand in a mapping of config keys, with or without the prefix `headroom:`.

    Values are plain data, or JSON text where Pulumi hands structured values over as that. Keys of other prefixes are
    not ours and are left alone, unless they look like a mistyped one of ours: what stands under it would go missing.
    `headroom:secrets` is never kept. Raises InputError.
    """
    if not isinstance(mapping, Mapping):
        raise InputError(f"the config of stack {stack} must be a mapping, and is {value_text(mapping)}")
    own: dict[str, Any] = {}
    for key, value in mapping.items():
        name = _own(key)
        if name is None:
            continue
        if name in own:
            raise InputError(f"{PREFIX}{name} is there twice, with and without its prefix", fix="remove one of them")
        if name == SECRETS:
            _check_secrets(value)
        elif name not in _KEYS:
            raise InputError(
                f"{PREFIX}{value_text(name)[1:-1]} is not a key that is known", fix=closest(name, _KEYS | {SECRETS})
            )
        else:
            own[name] = _structured(name, value)
    if "environment" not in own:
        raise InputError(f"{PREFIX}environment is required, and is not there", fix="one of local, dev, staging, prod")
    try:
        return StackDemand.model_validate({**own, "stack": stack})
    except ValidationError as error:
        raise refuse(stack, error) from None


def months(text: str) -> int:
    """Months of a time ahead such as `12mo` or `1y`. Raises InputError."""
    try:
        found = quantities.months(text)
    except ValueError as error:
        raise InputError(f"{value_text(text)}: {error}", fix="for example 12mo or 1y") from error
    if not 0 <= found <= 600:
        raise InputError(f"{value_text(text)}: must be between 0 and 600 months", fix="for example 12mo or 1y")
    return found


def _own(key: object) -> str | None:
    if not isinstance(key, str):
        raise InputError(f"{value_text(key)} is a config key; keys must be text", fix="put it in quotes")
    prefix, colon, name = key.partition(":")
    if not colon:
        return key
    if prefix == PREFIX[:-1]:
        return name
    _refuse_slip(prefix, name)
    return None


def _refuse_slip(prefix: str, name: str) -> None:
    alike = difflib.SequenceMatcher(None, PREFIX[:-1], prefix.strip().casefold()[:64]).ratio()
    if alike >= _ALIKE or (alike >= _ALIKE_WITH_OUR_KEY and name.strip() in _KEYS | {SECRETS}):
        shown = value_text(f"{prefix}:{name}")
        raise InputError(
            f"{shown} has a prefix that is not known", fix=f"did you mean {PREFIX}{value_text(name)[1:-1]}?"
        )


def _structured(name: str, value: Any) -> Any:
    """Pulumi hands structured values over as JSON text."""
    if name in ("environment", "namespace") or not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_float=Decimal)
    except (ValueError, RecursionError):
        return value


def _check_secrets(value: Any) -> None:
    # What is in them is opaque here and must not be: it is checked by whoever uses it, and never shown.
    if not isinstance(value, Mapping | str):
        raise InputError(f"{PREFIX}{SECRETS} must be a mapping of names to secret values")
