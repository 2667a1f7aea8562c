"""Text of others inside Markdown, so that it can neither become markup, nor mention people, nor leave its place.

What stands in a stack file is written by whoever opened the pull request: it is data in a comment that we sign.
"""

from __future__ import annotations

import re
import unicodedata

_BREAK = "\u200b"  # zero width space: GitHub looks for mentions and links in the rendered text, past every escape
_PUNCTUATION = re.compile(r"([\\`*_\[\]|~^$])")
_LINKS = re.compile(r"(?<=[@#])|(?<=:)(?=//)|(?i:(?<=\bwww)(?=\.))|(?i:(?<=\bGH)(?=-\d))")
_PLAIN_CODE = re.compile(r"[^`|\\\n]+")
_BACKTICKS = re.compile(r"`+")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def visible(text: str) -> str:
    """One line in which characters that hide or reorder others (control, bidirectional) are written out."""
    return text if text.isprintable() else "".join(_shown(c) for c in text)


def one_line(text: str) -> str:
    """Text with white space collapsed, on one visible line."""
    return visible(" ".join(text.split()))


def prose(text: str) -> str:
    """Text as itself in a sentence or a table cell."""
    escaped = "".join(_ENTITIES.get(c, c) for c in one_line(text))
    return _LINKS.sub(_BREAK, _PUNCTUATION.sub(r"\\\1", escaped))


def code(text: str) -> str:
    """Text as code, inside or outside a table. In code GitHub neither mentions nor links."""
    line = one_line(text)
    if _PLAIN_CODE.fullmatch(line):
        return f"`{line}`"
    # A code span cannot hold these in every place, entities inside an element can.
    return (
        "<code>" + "".join(c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in line) + "</code>" if line else "–"
    )


def block(text: str, language: str = "") -> str:
    """Lines as a fenced block that nothing in them can close."""
    lines = "\n".join(visible(line) for line in text.split("\n"))
    longest = max((len(run) for run in _BACKTICKS.findall(lines)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{lines}\n{fence}"


def cut(text: str, length: int) -> str:
    """At most `length` characters, with an ellipsis where something is left out."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _shown(char: str) -> str:
    if char == "\t":
        return "    "
    hidden = unicodedata.category(char) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")
    return f"\\u{ord(char):04x}" if hidden else char
