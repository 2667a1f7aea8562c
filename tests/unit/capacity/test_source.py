"""Stack files are read strictly: what is not a plain mapping within bounds is refused, with the line."""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headroom.capacity import demand
from headroom.capacity.demand import source
from headroom.errors import InputError


def test_scalars() -> None:
    text = 'a: 0.1\nb: 10\nc: "1"\nd: yes\ne: true\nf: 2024-01-01\ng: ~\nh: 1:30\ni: "010"\nj: -5\n'
    text += "k: [1, {l: x}]\nm: 1e3\n"
    assert source.parse(text, "x") == {
        "a": Decimal("0.1"),
        "b": 10,
        "c": "1",
        "d": "yes",
        "e": True,
        "f": "2024-01-01",
        "g": None,
        "h": "1:30",
        "i": "010",
        "j": -5,
        "k": [1, {"l": "x"}],
        "m": Decimal(1000),
    }


def test_anchors_and_merges() -> None:
    text = "base: &b {x: 1, y: 2}\none: {<<: *b, y: 3}\ntwo: *b\n"
    assert source.parse(text, "x")["one"] == {"x": 1, "y": 3}
    assert source.parse(text, "x")["two"] == {"x": 1, "y": 2}


def _bomb() -> str:
    lines = ["a0: &a0 [x,x,x,x,x,x,x,x,x,x]"]
    lines += [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    return "\n".join(lines)


def _merge_bomb() -> str:
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{n}: &a{n} {{<<: [{','.join([f'*a{n - 1}'] * 10)}], y{n}: 1}}" for n in range(1, 12)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", "line 2: the key 'a' is there twice"),
        (_bomb(), "more than 500,000 values"),
        (_merge_bomb(), "more than 500,000 values"),
        ("a: &a [*a]\n", "names nothing that is complete"),
        ("[" * 5000, "nested more than 32 deep"),
        ("a: !!python/object/apply:os.system ['true']\n", "has no place"),
        ("a: !!binary aGVsbG8=\n", "has no place"),
        ("1: x\n", "keys must be text"),
        ("? [a]\n: x\n", "keys must be text"),
        ("a: 1\n---\nb: 2\n", "more than one document"),
        ("a: [1\n", "not valid YAML"),
        ("a: b: c\n", "not valid YAML"),
        ("a: \x00\n", "not valid YAML"),
        *(
            (f"a: {n}\n", "readers of YAML")
            for n in ("010", "0900", "9_00", "0x384", "0o17", "0b1", "1_000.5", ".inf", "-.NaN")
        ),
    ],
)
def test_refused(text: str, words: str) -> None:
    with pytest.raises(InputError) as found:
        source.parse(text, "Pulumi.x.yaml")
    assert words in str(found.value)
    assert "Pulumi.x.yaml" in str(found.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"# nothing\n", "is empty"),
        (b"- a\n", "must be a mapping"),
        (b"just text", "must be a mapping"),
        (b"confg: {}\n", "did you mean 'config'"),
        (b"encryptionsalt: v1\n", "has no config"),
        (b"config: [1]\n", "config must be a mapping"),
        (b"config:\n  headroom:namespace: a\n", "headroom:environment is required"),
        (b"config:\n  environment: dev\n", "write headroom:environment"),
        (b"\xff\xfe", "not UTF-8"),
        (b"a: " + b"x" * (5 * 1024 * 1024), "larger than 4 MiB"),
    ],
)
def test_files_refused(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_bytes(content)
    with pytest.raises(InputError) as found:
        demand.load("x", file)
    assert words in str(found.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        demand.load("x", tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        demand.load("x", tmp_path)


def test_a_device_is_refused() -> None:
    with pytest.raises(InputError, match="/dev/null cannot be read: it is no regular file"):
        demand.load("x", Path("/dev/null"))


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "Pulumi.x.yaml"
    os.mkfifo(pipe)
    program = "import sys, pathlib; from headroom.capacity import demand; demand.load('x', pathlib.Path(sys.argv[1]))"
    done = subprocess.run(
        [sys.executable, "-c", program, pipe], capture_output=True, text=True, check=False, timeout=60
    )
    assert "it is no regular file" in done.stderr


def test_what_pulumi_adds_is_ignored(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(
        "secretsprovider: awskms://x\nencryptionsalt: v1:abc\nencryptedkey: abc\n"
        "config:\n  aws:region: eu-west-1\n  kubernetes:context: {}\n  headroom:environment: dev\n"
        "  headroom:secrets: {db: {secure: AAABBB}}\n"
    )
    found = demand.load("x", file)
    assert found.environment == "dev"
    assert "AAABBB" not in repr(found)


@pytest.mark.parametrize(
    ("secrets", "named"),
    [
        ("{redisApp: hunter2}", "headroom:secrets.redisApp"),
        ("{redisApp: {secure: v1:x}, h2oUi: hunter2}", "headroom:secrets.h2oUi"),
        ("{redisApp: {secure: v1:x, clear: hunter2}}", "headroom:secrets.redisApp"),
        ("{redisApp: {secure: [hunter2]}}", "headroom:secrets.redisApp"),
        ('\'{"redisApp": "hunter2"}\'', "headroom:secrets"),
    ],
)
def test_secrets_in_the_clear_are_refused_and_not_repeated(tmp_path: Path, secrets: str, named: str) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(f"config: {{headroom:environment: dev, headroom:secrets: {secrets}}}")
    with pytest.raises(InputError) as found:
        demand.load("x", file)
    assert f"{named} is not encrypted" in found.value.message
    assert "headroom secrets init --stack x" in found.value.fix
    assert "hunter2" not in str(found.value)


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ("{headroom:services: {a: {image: 'x:1', env: {KEY: {secure: v1:x}}}}}", "headroom:services.a.env.KEY"),
        ("{headroom:images: {pullSecrets: [{secure: v1:x}]}}", "headroom:images.pullSecrets[0]"),
        ("{headroom:namespace: {secure: v1:x}}", "headroom:namespace"),
    ],
)
def test_an_encrypted_value_is_refused_where_it_would_end_in_the_clear(tmp_path: Path, config: str, named: str) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(f"config: {config}")
    with pytest.raises(InputError) as found:
        demand.load("x", file)
    assert f"{named} holds an encrypted value" in found.value.message
    assert "existingSecret" in found.value.fix and "v1:x" not in str(found.value)


def test_secrets_without_the_prefix_are_refused_too(tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text("config: {headroom:environment: dev, secrets: {redisApp: hunter2}}")
    with pytest.raises(InputError, match="no prefix"):
        demand.load("x", file)


@pytest.mark.parametrize("secrets", ["{}", "{redisApp: {secure: v1:x}}", "{secure: v1:x}"])
def test_encrypted_secrets_are_taken(tmp_path: Path, secrets: str) -> None:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(f"config: {{headroom:environment: dev, headroom:secrets: {secrets}}}")
    assert demand.load("x", file).environment == "dev"


@given(st.text(alphabet=st.sampled_from(list("ab: -[]{}&*!<>|\n'\"#%@,?~01.\t")), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        source.parse(text, "x")
    except InputError as error:
        assert error.message.startswith("x")
