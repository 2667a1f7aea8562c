"""The stack's passwords (`headroom:secrets`) on their way into Secrets: checked at the door, never shown.

A part that names an `existingSecret` uses that instead; its keys are the names that `headroom secrets` lists.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pulumi

from components.metadata import Identity
from components.objects import KubernetesObject
from headroom.backend.secrets import CONFIG_KEY, REQUIRED
from headroom.engine.stackconfig import PLACEHOLDER
from headroom.errors import InputError

LEAST_LENGTH = 16
LEAST_DIFFERENT = 8
# Whole in a configuration file, an ACL line and a connection string, whatever quotes them.
_PLAIN = re.compile(r"[A-Za-z0-9!#%*+,./:=?@^_~-]+", re.ASCII)


def passwords(config: Mapping[str, Any], names: Iterable[str]) -> dict[str, str]:
    """The passwords of these names, from the stack's configuration.

    Raises InputError that names each one that is missing or weak, and never its value.
    """
    raw = config.get(CONFIG_KEY) or {}
    held = json.loads(raw) if isinstance(raw, str) else raw
    found = {name: str(held.get(name) or "") for name in names}
    wrong = [f"{name} ({REQUIRED[name].used_for}) {why}" for name, value in found.items() if (why := _weak(value))]
    if wrong:
        raise InputError(
            f"{CONFIG_KEY}: " + "; ".join(wrong),
            fix="headroom secrets init makes what is missing, headroom secrets rotate NAME replaces a weak one",
        )
    return found


def _weak(value: str) -> str:
    if value == PLACEHOLDER:
        return ""
    if not value:
        return "is missing"
    if len(value) < LEAST_LENGTH:
        return f"has {len(value)} characters, fewer than {LEAST_LENGTH}"
    if len(set(value)) < LEAST_DIFFERENT:
        return f"has fewer than {LEAST_DIFFERENT} different characters"
    return "" if _PLAIN.fullmatch(value) else "has characters other than letters, digits and !#%*+,./:=?@^_~-"


def fingerprint(values: Mapping[str, str]) -> str:
    """Ten hex digits that change when one of the passwords does: 40 bits, which tell nothing of a strong one."""
    text = json.dumps(values, sort_keys=True).encode()
    return hashlib.sha256(b"headroom passwords\0" + text).hexdigest()[:10]


def secret(
    resource_name: str,
    owner: Identity,
    object_name: str,
    values: Mapping[str, str],
    opts: pulumi.ResourceOptions,
) -> KubernetesObject:
    """An Opaque Secret of these values, marked secret in every state and diff."""
    body = {"type": "Opaque", "stringData": pulumi.Output.secret(dict(values))}
    return KubernetesObject(resource_name, "v1", "Secret", owner.metadata(object_name), body, opts)
