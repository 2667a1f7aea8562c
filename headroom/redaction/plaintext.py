"""Secrets written in the clear: where they are in an object, and the object without them.

The policy pack refuses what this finds; a diff shows everything but what this finds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from headroom.redaction.secret_names import is_secret

HIDDEN = "(hidden)"

_KNOWN_FORMS = {
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"),
    "an AWS key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_[A-Za-z0-9_]{20,}"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abposr]-[A-Za-z0-9-]{10,}"),
    "a Pulumi token": re.compile(r"\bpul-[0-9a-f]{40}\b"),
    "a JSON web token": re.compile(r"\beyJ[A-Za-z0-9_-]{10,8192}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]+"),
    "a password verifier": re.compile(r"SCRAM-SHA-256\$\S+|\bmd5[0-9a-f]{32}\b"),
}
# Time grows with the text and no faster: what may be of any length is looked for once, beginning at a fixed word.
_USER = re.compile(r"(?<=[a-z0-9+.-])://[^\s/:@'\"]*:", re.IGNORECASE)
_USERS_PASSWORD = re.compile(r"[^\s@'\"]*")
_ASSIGNMENT = re.compile(
    r"(?P<word>password|passwd|passphrase|secret|token|api_?key|requirepass|masterauth)[\"']?"
    r"(?:\s*[:=]\s*|[ \t]+(?=[^\s:=]))(?P<quote>[\"']?)(?P<value>[^\s\"',;]+)",
    re.IGNORECASE,
)
_NAME = re.compile(r"[\w.-]*")
_LONGEST_NAME = 128
_BARE_WORDS = re.compile(r"(?:requirepass|masterauth)$", re.IGNORECASE)
_PLACEHOLDER = re.compile(
    r"\$\(\w+\)|\$\{\w+\}|%\(\w+\)s|%s|%\w+%|<[^<>]*>|\{\{.*\}\}|\*+|x+|null|none|true|false|~|\"\"|''|changeit",
    re.IGNORECASE,
)
"""The whole of a value that stands for another, or for nothing."""
_FILLED_IN = re.compile(r"\$[A-Z_][A-Z0-9_]*|\$\([\w./-]+\)?|\$\{\w+(?::?[-?+=][^}]*)?\}|\{\w*\}")
"""What a shell or a template fills in. In an environment nothing does: `$HUNTER` under a secret's name is a value."""
_SCRIPT = re.compile(r"^#!|\.(py|sh|bash|lua|awk)$")


@dataclass(frozen=True)
class Found:
    """One secret in the clear. `path` leads to the string that holds it; `span` is its place in that string."""

    path: tuple[str | int, ...]
    span: tuple[int, int]
    what: str

    @property
    def where(self) -> str:
        """The path as people write it: `spec.containers[0].env[2].value`."""
        return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in self.path).lstrip(".")


def find(manifest: Mapping[str, Any]) -> list[Found]:
    """Every secret that stands in the clear in an object: environment values, ConfigMap data, commands, annotations.

    Secret objects are where secrets belong, so nothing is found in them.
    """
    if manifest.get("kind") == "Secret":
        return []
    return list(_walk(manifest, ()))


def redact(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of an object with every such secret replaced by HIDDEN."""
    copy: dict[str, Any] = deepcopy(dict(manifest))
    for found in sorted(find(copy), key=lambda f: f.span, reverse=True):
        *parents, last = found.path
        holder: Any = copy
        for step in parents:
            holder = holder[step]
        text = holder[last]
        start, end = found.span
        holder[last] = text[:start] + HIDDEN + text[end:]
    return copy


def scrub(text: str) -> str:
    """A text (a message, a log line) without the secrets that can be recognised in it."""
    for _, start, end in reversed(_merged(_in_text(text, script=False))):
        text = text[:start] + HIDDEN + text[end:]
    return text


def _walk(node: Any, path: tuple[str | int, ...], holder: Mapping[str, Any] | None = None) -> Iterator[Found]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _walk(value, (*path, str(key)), node)
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _walk(value, (*path, i), None)
    elif isinstance(node, str) and node:
        for what, start, end in _merged(_in_place(node, path, holder)):
            yield Found(path, (start, end), what)


def _in_place(
    text: str, path: tuple[str | int, ...], holder: Mapping[str, Any] | None
) -> Iterator[tuple[str, int, int]]:
    """What is in one string of an object, judged also by the name that it goes under."""
    key = str(path[-1]) if path else ""
    name = ""
    if key == "value" and holder and "name" in holder and "env" in path:
        name = str(holder["name"])
    elif path[:1] in (("data",), ("binaryData",)):
        name = key
    if name and is_secret(name) and not _PLACEHOLDER.fullmatch(text.strip()) and "\n" not in text.strip():
        yield f"a value under the name {name}", 0, len(text)
        return
    yield from _in_text(text, script=bool(_SCRIPT.search(key) or _SCRIPT.search(text)))


def _in_text(text: str, *, script: bool) -> Iterator[tuple[str, int, int]]:
    for what, form in _KNOWN_FORMS.items():
        for match in form.finditer(text):
            yield what, *match.span()
    for start, end in _passwords_of_addresses(text):
        if not _stands_for_another(text[start:end]):
            yield "a password in an address", start, end
    for match in _ASSIGNMENT.finditer(text):
        told = text[match.end("word") : match.start("value")]
        bare = ":" not in told and "=" not in told  # `requirepass hunter2` is redis.conf; "the password is" is prose
        if bare and not _BARE_WORDS.search(match["word"]):
            continue
        literal = bool(match["quote"]) or not script  # in a program, `token = read()` is no literal
        if literal and not _stands_for_another(match["value"]):
            yield f"a value of {_name(text, match.end('word'))}", *match.span("value")


def _passwords_of_addresses(text: str) -> Iterator[tuple[int, int]]:
    """Where the password of each `scheme://user:password@host` begins and ends."""
    at = 0
    while user := _USER.search(text, at):
        start = user.end()
        # Without an @ at its end this was none; nor is any that begins before that end, which they would share.
        at = end = _end(_USERS_PASSWORD, text, start)
        if end > start and text[end : end + 1] == "@":
            yield start, end


def _name(text: str, end: int) -> str:
    """The whole name that ends there, or the last part of a very long one."""
    before = text[max(end - _LONGEST_NAME, 0) : end][::-1]
    return before[: _end(_NAME, before, 0)][::-1]


def _end(form: re.Pattern[str], text: str, start: int) -> int:
    """Where what always matches there ends, if only after nothing."""
    found = form.match(text, start)
    return found.end() if found else start


def _stands_for_another(value: str) -> bool:
    return bool(_PLACEHOLDER.fullmatch(value) or _FILLED_IN.fullmatch(value))


def _merged(found: Iterator[tuple[str, int, int]]) -> list[tuple[str, int, int]]:
    """In order, without overlaps: the earliest and longest wins."""
    kept: list[tuple[str, int, int]] = []
    for what, start, end in sorted(found, key=lambda f: (f[1], -f[2])):
        if not kept or start >= kept[-1][2]:
            kept.append((what, start, end))
        elif end > kept[-1][2]:
            kept[-1] = (kept[-1][0], kept[-1][1], end)
    return kept
