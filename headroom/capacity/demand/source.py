"""Stack files as plain data: YAML read with its bounds checked, before anything looks at what it says.

Scalars are resolved by the YAML 1.2 core rules; numbers with a point stay exact decimals. Duplicate keys, tags, aliases
that blow up, files that are too large or too deep, and what readers of YAML disagree on are refused.
"""

from __future__ import annotations

import os
import re
import stat
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn

import yaml

from headroom.capacity.demand.problem import closest, value_text
from headroom.errors import InputError

LARGEST = 4 * 1024 * 1024
DEEPEST = 32
MOST_VALUES = 500_000
LEAST = "write at least config: {headroom:environment: dev}"
TOP_LEVEL = frozenset({"config", "encryptionsalt", "encryptedkey", "secretsprovider", "environment"})

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][-+]?[0-9]{1,2})?", re.ASCII
)
# A number to one reader of YAML, and text or another number to the next.
_DISPUTED = re.compile(
    r"[-+]?(?:0[xob][0-9a-f_]+|0[0-9_]+(?:\.[0-9_]*)?|[0-9]+_[0-9_]*(?:\.[0-9_]*)?|\.inf|\.nan)",
    re.ASCII | re.IGNORECASE,
)
_PLAIN: dict[str, bool | None] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_PLAIN |= dict.fromkeys(("true", "True", "TRUE"), True) | dict.fromkeys(("false", "False", "FALSE"), False)


def read(file: Path) -> dict[str, Any]:
    """The `config` of a stack file, as plain data. Raises InputError when the file is not one."""
    content = document(file)
    if content is None:
        raise InputError(f"{file.name} is empty", fix=LEAST)
    if not isinstance(content, dict):
        raise InputError(f"{file.name} must be a mapping with the key config, and is {value_text(content)}", fix=LEAST)
    for key in content:
        if key not in TOP_LEVEL:
            raise InputError(
                f"{file.name}: {value_text(key)} is not a key of a stack file", fix=closest(str(key), TOP_LEVEL)
            )
    config = content.get("config")
    if config is None:
        raise InputError(f"{file.name} has no config", fix=LEAST)
    if not isinstance(config, dict):
        raise InputError(f"{file.name}: config must be a mapping, and is {value_text(config)}", fix=LEAST)
    return config


def document(file: Path) -> Any:
    """All that a YAML file holds, see `parse`. Raises InputError for what cannot be read."""
    try:
        text = _content(file).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file.name} is not UTF-8 text (byte {error.start})", fix="save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}", fix="name a stack file that exists") from error
    return parse(text, file.name)


def _content(file: Path) -> bytes:
    # A device has no end and no size, and a pipe is waited for until somebody writes into it.
    with open(file, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as opened:
        if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
            raise InputError(f"{file} cannot be read: it is no regular file", fix="write it into a file, and name that")
        found = opened.read(LARGEST + 1)
    if len(found) > LARGEST:
        raise InputError(f"{file.name} is larger than {LARGEST // 1024 // 1024} MiB", fix="is it a stack file?")
    return found


def parse(text: str, name: str) -> Any:
    """One YAML document as dicts, lists, text, ints, Decimals, booleans and None. Raises InputError."""
    builder = _Builder(name)
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            builder.take(event)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        what = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise InputError(
            f"{name}{where}: is not valid YAML: {what}", fix="mind the indentation and the quotes"
        ) from error
    return builder.root


class _Builder:
    """Builds values from parse events, without recursion, counting what aliases would repeat."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.root: Any = None
        self._documents = 0
        self._open: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0

    def take(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._refuse(event, "holds more than one document", "keep the first `---` only")
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            if len(self._open) >= DEEPEST:
                self._refuse(event, f"is nested more than {DEEPEST} deep")
            self._check_tag(event)
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            self._open.append(_Open(value, event.anchor, self._count))
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            done = self._open.pop()
            self._put(event, done.value, done.anchor, self._count - done.count + 1)
        elif isinstance(event, yaml.ScalarEvent):
            self._check_tag(event)
            if event.implicit[0] and _DISPUTED.fullmatch(event.value):
                rule = f"{value_text(event.value)} is a number to some readers of YAML, another or text to others"
                self._refuse(event, rule, "put it in quotes, or write the number in digits alone")
            self._put(event, _scalar(event), event.anchor, 1)
        elif isinstance(event, yaml.AliasEvent):
            anchor = str(event.anchor)
            if anchor not in self._anchors:
                self._refuse(event, f"the alias *{anchor[:40]} names nothing that is complete above it")
            value, size = self._anchors[anchor]
            self._count += size - 1
            self._put(event, value, None, 1)

    def _put(self, event: yaml.Event, value: Any, anchor: str | None, size: int) -> None:
        self._count += 1
        if self._count > MOST_VALUES:
            self._refuse(event, f"holds more than {MOST_VALUES:,} values, aliases included")
        if anchor is not None:
            self._anchors[anchor] = (value, size)
        if not self._open:
            self.root = value
            return
        parent = self._open[-1]
        if isinstance(parent.value, list):
            parent.value.append(value)
        elif not parent.has_key:
            self._key(event, parent, value)
        else:
            parent.has_key = False
            if parent.key == "<<":
                self._merge(event, parent, value)
            else:
                parent.value[parent.key] = value
                parent.merged.discard(parent.key)

    def _key(self, event: yaml.Event, parent: _Open, key: Any) -> None:
        if not isinstance(key, str):
            self._refuse(event, f"{value_text(key)} is a key; keys must be text", "put it in quotes")
        if key in parent.value and key not in parent.merged:
            self._refuse(event, f"the key {value_text(key)} is there twice", "remove one of them")
        parent.key, parent.has_key = key, True

    def _merge(self, event: yaml.Event, parent: _Open, value: Any) -> None:
        for source in value if isinstance(value, list) else [value]:
            if not isinstance(source, dict):
                self._refuse(event, "`<<` merges mappings only")
            for key, item in source.items():
                if key not in parent.value:
                    parent.value[key] = item
                    parent.merged.add(key)

    def _check_tag(self, event: yaml.Event) -> None:
        tag = getattr(event, "tag", None)
        if tag not in (None, "!") and not str(tag).startswith("tag:yaml.org,2002:str"):
            self._refuse(event, f"the tag {value_text(tag)} has no place in a stack file", "remove the tag")

    def _refuse(self, event: yaml.Event, rule: str, fix: str = "") -> NoReturn:
        line = f", line {event.start_mark.line + 1}" if event.start_mark else ""
        raise InputError(f"{self.name}{line}: {rule}", fix=fix)


class _Open:
    """A mapping or list that is not closed yet."""

    def __init__(self, value: Any, anchor: str | None, count: int) -> None:
        self.value, self.anchor, self.count = value, anchor, count
        self.key, self.has_key = "", False
        self.merged: set[str] = set()


def _scalar(event: yaml.ScalarEvent) -> Any:
    text: str = event.value
    if not event.implicit[0]:  # quoted, a block, or tagged
        return text
    if text in _PLAIN:
        return _PLAIN[text]
    if _INT.fullmatch(text):
        return int(text)
    return Decimal(text) if _FLOAT.fullmatch(text) else text
