"""The files of a rendering."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
import yaml

from headroom.engine.write import SYNC_WAVE, to_yaml, write
from headroom.errors import EnvironmentFailure, InputError

SECRET = (
    'k8s.core.v1.Secret("s", metadata={"name": "s", "namespace": "ml"}, string_data={"p": config.require_secret("p")})'
)


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_names_waves_and_identical_bytes(make: Any, tmp_path: Path) -> None:
    program = """
        ns = k8s.core.v1.Namespace("ns", metadata={"name": "ml"})
        configmap("b", Options(depends_on=[ns]), z="1", a="2")
    """
    out = tmp_path / "out"
    write(make(program), out)
    first = contents(out)
    assert sorted(first) == ["_cluster.namespace.ml.yaml", "ml.configmap.b.yaml"]
    assert yaml.safe_load(first["ml.configmap.b.yaml"])["metadata"]["annotations"] == {SYNC_WAVE: "1"}
    write(make(program), out)
    assert contents(out) == first


def test_stale_files_go_and_foreign_files_stay(make: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(make('configmap("a")\nconfigmap("b")'), out)
    (out / "mine.yaml").write_text("a: 1\n")
    (out / "other.yaml").write_text("# rendered by headroom from stack prod\na: 1\n")
    write(make('configmap("b")'), out)
    assert sorted(contents(out)) == ["mine.yaml", "ml.configmap.b.yaml", "other.yaml"]


def test_foreign_files_are_not_overwritten(make: Any, tmp_path: Path) -> None:
    (tmp_path / "ml.configmap.a.yaml").write_text("precious: true\n")
    with pytest.raises(InputError, match=r"ml\.configmap\.a\.yaml"):
        write(make('configmap("a")'), tmp_path)
    assert (tmp_path / "ml.configmap.a.yaml").read_text() == "precious: true\n"


def test_secrets_are_listed_and_left_out(make: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(make(SECRET, secrets={"p": "hunter2"}), out)
    assert sorted(contents(out)) == ["SECRETS.txt"]
    text = (out / "SECRETS.txt").read_text()
    assert "ml/s: p" in text
    assert "hunter2" not in text


def test_secrets_on_request_are_for_the_user_alone(make: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    rendered = make(SECRET, secrets={"p": "hunter2"})
    write(rendered, out, with_secrets=True)
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert stat.S_IMODE((out / "ml.secret.s.yaml").stat().st_mode) == 0o600
    assert yaml.safe_load((out / "ml.secret.s.yaml").read_text())["stringData"] == {"p": "hunter2"}
    write(rendered, out)
    assert sorted(contents(out)) == ["SECRETS.txt"]


def test_a_placeholder_is_never_written_as_a_secret(make: Any, tmp_path: Path) -> None:
    rendered = make(SECRET, config="{p: {secure: v1:abc}}")
    with pytest.raises(EnvironmentFailure, match="headroom:p"):
        write(rendered, tmp_path / "out", with_secrets=True)
    assert not (tmp_path / "out").exists()


def test_kinds_of_two_groups_get_two_files(make: Any, tmp_path: Path) -> None:
    program = """
        for group in ("a.com", "b.com"):
            k8s.apiextensions.CustomResource(group, api_version=f"{group}/v1", kind="X",
                metadata={"name": "x", "namespace": "ml"})
    """
    write(make(program), tmp_path / "out")
    assert sorted(contents(tmp_path / "out")) == ["ml.x-a-com.x.yaml", "ml.x-b-com.x.yaml"]


@pytest.mark.parametrize(
    "text", ["1e3", "1E-3", "yes", "on", "0755", "0o17", "1_000", "null", "1:30", ".5", "2024-01-01", "~", "+1"]
)
def test_strings_that_look_like_something_else_are_quoted(text: str) -> None:
    line = to_yaml({"v": text}).strip()
    assert line in (f"v: '{text}'", f'v: "{text}"')


def test_text_of_many_lines_is_a_block() -> None:
    assert to_yaml({"v": "a: 1\nb: 2\n"}) == "v: |\n  a: 1\n  b: 2\n"
