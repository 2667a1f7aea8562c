"""Secrets belong in Secrets, not in ConfigMaps, environment values, commands or annotations."""

from __future__ import annotations

from collections.abc import Iterator

from headroom.redaction import plaintext
from policy.rules.model import Manifest, ObjectRule


def check(manifest: Manifest) -> Iterator[str]:
    """Secrets that this object holds in the clear; a message names the place, never the value."""
    for found in plaintext.find(manifest):
        yield f"{found.where} holds {found.what} in the clear: move it to a Secret and refer to it"


RULE = ObjectRule("no-plaintext-secret", "No secret stands in the clear in a ConfigMap or an environment.", check)
