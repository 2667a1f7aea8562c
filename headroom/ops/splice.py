"""Edits of a stack file's text that touch nothing else: comments, order, quotes and blank lines stay as they are.

YAML's own parser says where a value begins and ends; the text there is replaced, and the result is read again and
compared with what was meant, so that an edit is exact or refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from headroom.capacity.demand import source
from headroom.errors import InputError

Path = Sequence[str]
_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@+-]*", re.ASCII)


def get(text: str, path: Path) -> Any:
    """The value at a path of keys; None where there is none."""
    found: Any = source.parse(text, "the stack file")
    for key in path:
        if not isinstance(found, dict) or key not in found:
            return None
        found = found[key]
    return found


def put(text: str, path: Path, value: Any) -> str:
    """The text with `value` (plain data) at `path`; mappings on the way are made. Raises InputError."""
    parent, rest = _walk(text, path)
    found = _entry(parent, rest[0])
    if found is not None:
        new = text[: _start(found[1])] + _flow(value) + text[_end(found[1], text) :]
    else:
        for key in reversed(rest[1:]):
            value = {key: value}
        new = _inserted(text, parent, rest[0], value)
    return _checked(text, new, path, value, rest)


def drop(text: str, path: Path) -> str:
    """The text without what is at `path`; a mapping that this leaves empty goes too. Raises InputError."""
    if get(text, path) is None:
        return text
    while len(path) > 1 and len(get(text, path[:-1])) == 1:
        path = path[:-1]
    parent, rest = _walk(text, path)
    place = next(i for i, (key, _) in enumerate(parent.value) if key.value == rest[0])
    key, value = parent.value[place]
    if parent.flow_style:
        if place + 1 < len(parent.value):
            new = text[: _start(key)] + text[_start(parent.value[place + 1][0]) :]
        else:
            new = text[: _end(parent.value[place - 1][1], text)] + text[_end(value, text) :]
    else:
        begin = text.rfind("\n", 0, _start(key)) + 1
        newline = text.find("\n", _end(value, text))
        new = text[:begin] + (text[newline + 1 :] if newline >= 0 else "")
    expected = _plain(source.parse(text, "the stack file"))
    holder = expected
    for name in path[:-1]:
        holder = holder[name]
    del holder[path[-1]]
    return _same(new, expected, path)


def section(text: str, path: Path) -> str:
    """The text of the value at a path, as it stands. Raises InputError where there is none."""
    parent, rest = _walk(text, path)
    found = _entry(parent, rest[0])
    if found is None or len(rest) > 1:
        raise InputError(f"the stack file has no {'.'.join(path)}")
    return text[_start(found[1]) : _end(found[1], text)]


def replaced(text: str, path: Path, other: str) -> str:
    """The text with the section at `path` as the text `other` has it. Raises InputError."""
    parent, rest = _walk(text, path)
    found = _entry(parent, rest[0])
    if found is None or len(rest) > 1:
        raise InputError(f"the stack file has no {'.'.join(path)}")
    new = text[: _start(found[1])] + section(other, path) + text[_end(found[1], text) :]
    expected = _plain(source.parse(text, "the stack file"))
    holder = expected
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = _plain(get(other, path))
    return _same(new, expected, path)


def _walk(text: str, path: Path) -> tuple[yaml.MappingNode, Path]:
    """The deepest mapping on the path that exists, and the keys from there on."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if not isinstance(node, yaml.MappingNode):
        raise InputError("the stack file is not a mapping", fix="write at least config: {headroom:environment: dev}")
    for n, key in enumerate(path[:-1]):
        found = _entry(node, key)
        if found is None:
            return node, path[n:]
        if not isinstance(found[1], yaml.MappingNode):
            raise InputError(f"{'.'.join(path[: n + 1])} in the stack file is no mapping")
        node = found[1]
    return node, path[-1:]


def _entry(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((k, v) for k, v in node.value if k.value == key), None)


def _start(node: yaml.Node) -> int:
    return int(node.start_mark.index)


def _end(node: yaml.Node, text: str) -> int:
    """Where the content of a node ends: the mark of a block lies behind the comments and blank lines after it."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        return _end(node.value[-1][1], text)
    if isinstance(node, yaml.SequenceNode) and not node.flow_style and node.value:
        return _end(node.value[-1], text)
    return len(text[: node.end_mark.index].rstrip())


def _inserted(text: str, parent: yaml.MappingNode, key: str, value: Any) -> str:
    line = f"{_scalar(key)}: {_flow(value)}"
    if not parent.value:
        return text[: _start(parent)] + "{ " + line + " }" + text[parent.end_mark.index :]
    end = _end(parent.value[-1][1], text)
    if parent.flow_style:
        return text[:end] + ", " + line + text[end:]
    newline = text.find("\n", end)
    newline = len(text) if newline < 0 else newline
    indent = " " * int(parent.value[0][0].start_mark.column)
    return text[:newline] + "\n" + indent + line + text[newline:]


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_scalar(str(k))}: {_flow(v)}" for k, v in value.items()) + " }"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    text = f"{value}"
    if not isinstance(value, str) or (_PLAIN.fullmatch(text) and source.parse(text, "a value") == text):
        return text
    return json.dumps(text, ensure_ascii=False)


def _checked(text: str, new: str, path: Path, value: Any, rest: Path) -> str:
    expected = _plain(source.parse(text, "the stack file"))
    holder = expected
    for key in path[: len(path) - len(rest)]:
        holder = holder[key]
    holder[rest[0]] = _plain(value)
    return _same(new, expected, path)


def _same(new: str, expected: Any, path: Path) -> str:
    try:
        exact = source.parse(new, "the stack file") == expected
    except InputError:
        exact = False
    if not exact:
        raise InputError(
            f"{'.'.join(path)} cannot be edited here without touching something else (an alias, an unusual layout)",
            fix="edit the stack file by hand, then run headroom up",
        )
    return new


def _plain(value: Any) -> Any:
    """A copy in which aliases are values of their own."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list) else value
