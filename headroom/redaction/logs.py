"""What programs in pods say, made fit to be shown: nothing that a terminal obeys, and no passwords."""

from __future__ import annotations

import re

from headroom.redaction.plaintext import scrub

_TERMINAL = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")
"""Colours, cursor moves, titles and resets (ECMA-35, ECMA-48)."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What is left of a sequence that was cut, and single bytes that move the cursor; lines and tabs stay."""


def readable(text: str) -> str:
    """The text without terminal sequences and without the secrets that can be recognised in it.

    Whole texts rather than lines: a private key has several.
    """
    return scrub(_CONTROL.sub("", _TERMINAL.sub("", text.replace("\r\n", "\n"))))
