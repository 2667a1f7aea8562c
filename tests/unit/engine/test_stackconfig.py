"""A stack file as the command line hands it to a program."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headroom.engine import stackconfig
from headroom.errors import InputError


def load(tmp_path: Path, text: str, secrets: object = None) -> stackconfig.StackConfig:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(text)
    return stackconfig.load(file, "headroom", secrets)  # type: ignore[arg-type]


def test_values_given_nested_fill_encrypted_ones_and_add_missing_ones(tmp_path: Path) -> None:
    text = "config: {'headroom:secrets': {redisApp: {secure: v1:x}, other: {secure: v1:y}}}"
    config = load(tmp_path, text, {"headroom:secrets": {"redisApp": "one", "h2oUi": "two"}})
    assert json.loads(config.values["headroom:secrets"]) == {
        "redisApp": "one",
        "h2oUi": "two",
        "other": stackconfig.PLACEHOLDER,
    }
    assert config.secret_keys == {"headroom:secrets"}
    assert config.placeholders == ("headroom:secrets.other",)


def test_words_of_yaml_1_1_stay_words(tmp_path: Path) -> None:
    config = load(tmp_path, "config: {a: yes, b: on, c: '010', d: 0.20, e: 1e3, f: [no]}")
    assert config.values["headroom:a"] == "yes"
    assert config.values["headroom:b"] == "on"
    assert config.values["headroom:c"] == "010"
    assert config.values["headroom:d"] == "0.2"
    assert config.values["headroom:e"] == "1000"
    assert config.values["headroom:f"] == '["no"]'


def test_the_program_gets_the_numbers_that_the_plan_reads(tmp_path: Path) -> None:
    config = load(tmp_path, "config: {'headroom:a': {b: [0.1, 2.0, 7, 2026-11-22]}}")
    assert config.values["headroom:a"] == '{"b":[0.1,2,7,"2026-11-22"]}'


@pytest.mark.parametrize("number", ["0900", "9_00", "0x384"])
def test_what_the_plan_refuses_is_not_deployed(tmp_path: Path, number: str) -> None:
    with pytest.raises(InputError, match="readers of YAML"):
        load(tmp_path, f"config: {{'headroom:a': {{b: {number}}}}}")


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{n}: &{n} [{', '.join([f'*{o}'] * 10)}]\n" for o, n in zip("abcdefg", "bcdefgh", strict=True)),
        "config: &loop {again: *loop}",
    ],
)
def test_a_small_file_cannot_grow_large(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError):
        load(tmp_path, text)


def test_a_null_is_no_value(tmp_path: Path) -> None:
    assert load(tmp_path, "config: {a: null}").values == {}


def test_no_config_is_no_values(tmp_path: Path) -> None:
    assert load(tmp_path, "encryptionsalt: v1:x\n").values == {}
