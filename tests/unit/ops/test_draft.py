"""Writing a stack file: whole or not at all, and not over a person's edits."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from headroom.errors import EnvironmentFailure, InputError
from headroom.ops import draft as drafts
from headroom.ops import splice
from headroom.ops.draft import Draft

TEXT = """\
config:
  headroom:environment: dev
  headroom:services:
    api:
      preset: fastapi # known
      image: registry.example/api:1.0.0
"""
API = ("config", "headroom:services", "api")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "Pulumi.x.yaml"
    file.write_text(TEXT)
    file.chmod(0o640)
    return file


def git(file: Path, *args: str) -> None:
    subprocess.run(["git", "-C", str(file.parent), "-c", "user.name=x", "-c", "user.email=x@x", *args], check=True)


@pytest.fixture
def committed(file: Path) -> Path:
    git(file, "init", "-q")
    git(file, "add", ".")
    git(file, "commit", "-qm", "x")
    return file


def paused(file: Path) -> Draft:
    return Draft.of("x", file, lambda text: splice.put(text, (*API, "maintenance"), True))


def test_nothing_is_written_before_the_word(file: Path) -> None:
    with paused(file).writing() as commit:
        assert file.read_text() == TEXT
        commit()
        assert "maintenance: true" in file.read_text()
    assert [f.name for f in file.parent.iterdir()] == [file.name]
    assert file.stat().st_mode & 0o777 == 0o640


def test_without_the_word_or_after_a_failure_nothing_is_left(file: Path) -> None:
    with pytest.raises(RuntimeError), paused(file).writing():
        raise RuntimeError
    assert file.read_text() == TEXT
    assert [f.name for f in file.parent.iterdir()] == [file.name]


def test_what_somebody_wrote_meanwhile_is_kept(file: Path) -> None:
    with paused(file).writing() as commit:
        file.write_text(TEXT.replace("1.0.0", "1.0.1"))
        commit()
    assert "1.0.1" in file.read_text() and "maintenance: true" in file.read_text()


def test_a_link_stays_a_link(file: Path) -> None:
    link = file.parent / "Pulumi.y.yaml"
    link.symlink_to(file)
    with paused(link).writing() as commit:
        commit()
    assert link.is_symlink()
    assert "maintenance: true" in file.read_text()


def test_a_folder_that_cannot_be_written_is_met_before_anything(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "mkstemp", full)
    with (
        pytest.raises(EnvironmentFailure, match="No space left on device; nothing was changed"),
        paused(file).writing(),
    ):
        pytest.fail("the cluster would be touched now")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*API, "emergencyReplicas"), {"value": 9, "because": "x"}),
        ((*API, "canary"), {"image": "a:1", "weight": 1}),
        ((*API, "maintenance"), True),
        ((*API, "override", "minReplicas"), {"value": 2, "because": "x"}),
        (("config", "headroom:pgbouncer", "override", "replicas"), {"value": 2, "because": "x"}),
    ],
)
def test_what_commands_write_is_not_in_their_way(committed: Path, path: tuple[str, ...], value: object) -> None:
    if path[1] == "headroom:pgbouncer":
        committed.write_text(TEXT + "  headroom:pgbouncer: { cpu: 100m }\n")
        git(committed, "commit", "-qam", "y")
    text = splice.put(committed.read_text(), path, value)
    committed.write_text(text)
    assert not drafts.in_the_way(committed)


@pytest.mark.parametrize("change", [("1.0.0", "1.0.1"), ("fastapi", "mage"), ("dev", "staging")])
def test_what_a_person_writes_is(committed: Path, change: tuple[str, str]) -> None:
    text = TEXT.replace(*change)
    committed.write_text(text)
    assert drafts.in_the_way(committed)
    with pytest.raises(InputError, match="not committed"):
        drafts.refuse_if_in_the_way(committed)
    assert not drafts.in_the_way(committed, deployed=text)  # it runs already


def test_a_comment_is_in_nobodys_way_and_outside_git_nothing_is(committed: Path, tmp_path: Path) -> None:
    committed.write_text(TEXT.replace("# known", "# well known"))
    assert not drafts.in_the_way(committed)


def test_outside_git_nothing_is(file: Path) -> None:
    file.write_text(TEXT.replace("1.0.0", "1.0.1"))
    assert not drafts.in_the_way(file)
