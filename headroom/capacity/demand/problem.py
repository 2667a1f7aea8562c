"""What is wrong with a value, in words, and how a pile of such findings becomes one `InputError`.

A finding names the key by its full path (`headroom:services.inference.demand.targetRps`), the value, the rule
and a fix.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from headroom.errors import InputError

PREFIX = "headroom:"
SHOWN = 10
VERBS = ("is ", "has ", "must ", "needs ", "begins ")


class Problem(ValueError):
    """A broken rule, raised inside a validator. `at` is the path below the place that found it."""

    def __init__(self, rule: str, *, fix: str = "", at: tuple[str | int, ...] = (), show: bool = True) -> None:
        super().__init__(rule)
        self.rule, self.fix, self.at, self.show = rule, fix, at, show


def closest(word: str, known: Iterable[str], what: str = "keys") -> str:
    """`did you mean "x"?`, else the list of what is known."""
    names = sorted(known)
    folded = {n.lower(): n for n in names}
    near = difflib.get_close_matches(word.lower()[:64], folded, n=1, cutoff=0.5)
    return f"did you mean {folded[near[0]]!r}?" if near else f"known {what}: {', '.join(names)}"


def path(parts: Iterable[str | int]) -> str:
    """`headroom:services.inference.env.A`, with list places as `[0]`."""
    text = PREFIX
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("" if text == PREFIX else ".") + _printable(part, 80)
    return text


def value_text(value: object) -> str:
    """A value in a message: short, on one line, nothing unprintable."""
    if isinstance(value, str):
        return repr(_printable(value, 60))
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and abs(value) >= 10**30:
        return "a huge number"
    return "nothing" if value is None else _printable(str(value), 60)


def refuse(stack: str, error: ValidationError) -> InputError:
    """The one error for everything that pydantic found in a stack's config."""
    found = []
    for entry in error.errors(include_url=False):
        problem = entry.get("ctx", {}).get("error")
        if isinstance(problem, Problem):
            key = path((*(p for p in entry["loc"] if p != "[key]"), *problem.at))
            if problem.show and not problem.at:
                words = f" is {value_text(entry['input'])}: {problem.rule}"
            else:
                words = (" " if problem.rule.startswith(VERBS) else ": ") + problem.rule
            found.append((key + words, problem.fix))
        else:
            found.append(_native(key=path(entry["loc"]), kind=entry["type"], entry=dict(entry)))
    message, fix = _words(stack, found[:SHOWN], len(found))
    return InputError(message, fix=fix)


def _words(stack: str, found: list[tuple[str, str]], count: int) -> tuple[str, str]:
    if count == 1:
        return found[0]
    lines = [f"  - {rule}" + (f" (fix: {fix})" if fix else "") for rule, fix in found]
    more = [f"  … and {count - len(found)} more"] if count > len(found) else []
    return "\n".join([f"stack {stack} asks for {count} things that cannot be:", *lines, *more]), ""


MAPPING = "write it as `key: value` lines, a little to the right of it"
NATIVE = {
    "missing": ("is required, and is not there", "add it"),
    "model_type": ("must be a mapping of keys to values", MAPPING),
    "model_attributes_type": ("must be a mapping of keys to values", MAPPING),
    "dict_type": ("must be a mapping of keys to values", MAPPING),
    "mapping_type": ("must be a mapping of keys to values", MAPPING),
    "list_type": ("must be a list", "begin each of its lines with a dash"),
    "tuple_type": ("must be a list", "begin each of its lines with a dash"),
    "string_type": ("must be text", "put it in quotes"),
    "bool_type": ("must be true or false", "write true or false, without quotes"),
    "bool_parsing": ("must be true or false", "write true or false, without quotes"),
}


def _native(key: str, kind: str, entry: dict[str, Any]) -> tuple[str, str]:
    """Pydantic's own findings, in our words."""
    if kind == "missing":
        return f"{key} is required, and is not there", f"add {key.rsplit('.', 1)[-1].removeprefix(PREFIX)}"
    value = value_text(entry["input"])
    if kind == "literal_error":
        expected = str(entry["ctx"]["expected"])
        names = [e.strip("' ") for e in expected.replace(" or ", ", ").split(",")]
        given = entry["input"]
        fix = closest(given, names, "values") if isinstance(given, str) else f"known values: {', '.join(names)}"
        return f"{key} is {value}: must be one of {', '.join(names)}", fix
    rule, fix = NATIVE.get(kind, (str(entry["msg"])[:200], ""))
    return f"{key} is {value}: {rule}", fix


def _printable(text: str, most: int) -> str:
    clean = "".join(c if c.isprintable() else "�" for c in text[: most + 1])
    return clean if len(clean) <= most else clean[:most] + "…"
