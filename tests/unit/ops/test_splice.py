"""Edits of a stack file's text: exact, or refused."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

from headroom.capacity.demand import source
from headroom.errors import InputError
from headroom.ops import splice

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(ROOT.glob("Pulumi.*.yaml"))
EMERGENCY = {"value": 30, "because": 'launch day: "big" # one'}


def changed_lines(before: str, after: str) -> list[str]:
    return [
        line
        for line in difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
        if line[0] in "+-" and not line.startswith(("+++", "---"))
    ]


def services() -> list[tuple[Path, str]]:
    return [(f, key) for f in FILES for key in source.read(f)["headroom:services"]]


@pytest.mark.parametrize(("file", "key"), services(), ids=lambda v: getattr(v, "stem", v))
def test_in_every_stack_file_an_emergency_comes_and_goes_without_a_trace(file: Path, key: str) -> None:
    text = file.read_text()
    path = ("config", "headroom:services", key, "emergencyReplicas")
    raised = splice.put(text, path, EMERGENCY)
    assert splice.get(raised, path) == EMERGENCY
    added = changed_lines(text, raised)
    assert len([line for line in added if line.startswith("+")]) == 1
    assert splice.drop(raised, path) == text


@pytest.mark.parametrize(("file", "key"), services(), ids=lambda v: getattr(v, "stem", v))
def test_what_lies_deeper_makes_its_way_and_takes_it_back(file: Path, key: str) -> None:
    text = file.read_text()
    path = ("config", "headroom:services", key, "override", "minReplicas")
    deeper = splice.put(text, path, {"value": 3, "because": "night"})
    assert splice.get(deeper, path[:-1]) == {"minReplicas": {"value": 3, "because": "night"}}
    assert splice.drop(deeper, path) == text


def test_a_value_is_replaced_where_it_stands_and_its_comment_stays() -> None:
    text = "config:\n  a:\n    image: x:1 # ours\n    b: 1\n"
    assert splice.put(text, ("config", "a", "image"), "x:2") == "config:\n  a:\n    image: x:2 # ours\n    b: 1\n"


def test_text_that_looks_like_a_number_is_quoted() -> None:
    assert splice.put("config: {a: 1}\n", ("config", "cpu"), "2") == 'config: {a: 1, cpu: "2"}\n'


def test_a_block_that_others_follow_is_replaced_whole() -> None:
    text = "config:\n  a:\n    canary:\n      image: x:1\n      weight: 0.1\n\n  # next\n  b: 1\n"
    assert splice.drop(text, ("config", "a", "canary", "image")) == text.replace("      image: x:1\n", "")
    assert splice.put(text, ("config", "a", "canary"), {"image": "x:2"}).split("\n\n")[1] == text.split("\n\n")[1]


def test_the_section_of_another_text_takes_the_place_of_ours() -> None:
    ours = "config:\n  s:\n    a: # the first\n      image: x:2\n      n: 2\n    b: { image: y:2 } # kept\n"
    theirs = "config:\n  s:\n    a: # the first\n      image: x:1\n      old: true\n    b: { image: y:1 }\n"
    mixed = splice.replaced(ours, ("config", "s", "a"), theirs)
    assert splice.get(mixed, ("config", "s", "a")) == {"image": "x:1", "old": True}
    assert mixed.endswith("    b: { image: y:2 } # kept\n")


@pytest.mark.parametrize(
    "text",
    [
        "config:\n  a: &x\n    n: 1\n  b: *x\n",  # the alias would change too
        "config:\n  a: 5\n",
    ],
)
def test_what_cannot_be_exact_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        splice.put(text, ("config", "a", "m"), 1)


def test_what_is_not_there_is_dropped_already() -> None:
    assert splice.drop("config: {a: 1}\n", ("config", "b", "c")) == "config: {a: 1}\n"
