"""The acting commands as a person meets them before any cluster: their help, and what they refuse."""

from __future__ import annotations

import pytest

from headroom.cli.main import main

REFUSED = {
    ("scale", "inference"): "scale to what?",
    ("scale", "inference", "--to", "9"): "an override needs a reason",
    ("scale", "inference", "--to", "9", "--because", "  "): "an override needs a reason",
    ("scale", "inference", "--restore", "--to", "9"): "--restore takes back",
    ("scale", "inference", "--cpu", "2", "--because", "x", "--gradual"): "gradual by itself",
    ("scale", "inference", "--to", "9", "--because", "x", "--gradual", "--wait", "5"): "has no unit",
    ("scale", "inference", "--to", "9", "--because", "x", "--gradual", "--wait", "2h"): "2h is not between 0s and 1h",
    ("scale", "inference", "--to", "many", "--because", "x"): "Invalid value for '--to'",
    ("canary", "start", "inference", "--image", "x:1", "--weight", "100%"): "above 0 and below 1",
    (
        "canary",
        "start",
        "inference",
        "--image",
        "x:1",
        "--watch",
        "soon",
    ): "Invalid value for '--watch': soon must be",
    ("canary", "start", "inference"): "--image",
    ("maintenance", "perhaps"): "perhaps",
}


@pytest.mark.parametrize("args", REFUSED)
def test_what_cannot_be_asked_is_exit_2_with_words(args: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(list(args))
    said = capsys.readouterr()
    assert ended.value.code == 2
    assert REFUSED[args] in said.err
    assert said.out == ""


@pytest.mark.parametrize(
    "args",
    [
        ("scale", "inference", "--to", "9", "--because", "x"),
        ("canary", "abort", "inference"),
        ("maintenance", "on"),
        ("rollback",),
    ],
)
def test_without_a_cluster_it_is_exit_1_and_says_how_to_get_one(
    args: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*args, "--name", "nobody-made-this-one"])
    assert ended.value.code == 1
    assert "headroom local up" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (("scale",), "--gradual"),
        (("maintenance",), "maintenance: true"),
        (("canary",), "error rate"),
        (("canary", "start"), "Ctrl-C"),
        (("canary", "promote"), "rolling update"),
        (("rollback",), "preview"),
    ],
)
def test_help_teaches(args: tuple[str, ...], word: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*args, "--help"])
    assert ended.value.code == 0
    assert word in capsys.readouterr().out
