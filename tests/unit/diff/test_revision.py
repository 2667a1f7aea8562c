"""Two revisions in a real repository, each read by its own code."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headroom.errors import InputError
from headroom.ops.diff import revision
from headroom.ops.diff.model import Absent, Broken, Snapshot
from headroom.ops.diff.probe import FORMAT
from headroom.ops.diff.run import run
from headroom.progress import Silent

Commit = Callable[..., str]

# A project whose own code is this: it answers with the number that it was written with.
PROBE = """
import json, sys
from pathlib import Path
stacks = {{}}
for name in sys.argv[1:]:
    file = Path(f"Pulumi.{{name}}.yaml")
    if not file.is_file():
        stacks[name] = {{"absent": True}}
    elif "broken" in file.read_text():
        stacks[name] = {{"error": "headroom:x is wrong", "fix": "right it"}}
    else:
        line = {{"component": "x", "setting": "maxReplicas", "value": {number}, "unit": "", "because": "",
                "boundBy": ""}}
        secret = {{"manifest": {{"kind": "Secret", "metadata": {{"name": "s"}}}}, "urn": "", "aliases": [],
                  "replaceOnChanges": [], "retain": False}}
        stacks[name] = {{"lines": [line], "warnings": [], "objects": [secret], "costs": {{"x": [1, 2]}}}}
json.dump({{"format": {format}, "stacks": stacks}}, sys.stdout)
"""


def git(folder: Path, *args: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *args], check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q", "-b", "main")
    return tmp_path


@pytest.fixture
def commit(repository: Path) -> Commit:
    """Write the project with a number of its own and stack files, and commit it."""

    def make(number: int, *, format_: int = FORMAT, probe: str | None = None, **stacks: str | None) -> str:
        code = repository / "headroom" / "ops" / "diff"
        code.mkdir(parents=True, exist_ok=True)
        for folder in (code, code.parent, code.parent.parent):
            (folder / "__init__.py").touch()
        (code / "probe.py").write_text(probe or PROBE.format(number=number, format=format_))
        (repository / "Pulumi.yaml").write_text("name: headroom\n")
        for name, text in stacks.items():
            file = repository / f"Pulumi.{name}.yaml"
            if text is None:
                file.unlink()
            else:
                file.write_text(text)
        git(repository, "add", "-A")
        git(repository, "commit", "-q", "-m", str(number))
        return git(repository, "rev-parse", "HEAD")

    return make


def values(state: Any) -> list[Any]:
    assert isinstance(state, Snapshot)
    return [line.value for line in state.lines]


def test_each_revision_is_read_by_its_own_code(repository: Path, commit: Commit) -> None:
    first = commit(1, prod="config: {}")
    commit(2)
    found = run(repository, base=first, stack=None, progress=Silent())
    assert not found.failed
    (prod,) = found.stacks
    assert [(c.before and c.before.value, c.after and c.after.value) for c in prod.settings] == [(1, 2)]


def test_the_head_is_the_working_tree_with_what_is_not_committed(repository: Path, commit: Commit) -> None:
    commit(1, prod="config: {}")
    probe = repository / "headroom/ops/diff/probe.py"
    probe.write_text(PROBE.format(number=7, format=FORMAT))
    (prod,) = run(repository, base="HEAD", stack="prod", progress=Silent()).stacks
    assert [c.after and c.after.value for c in prod.settings] == [7]


def test_a_stack_that_goes_to_another_cluster(repository: Path, commit: Commit) -> None:
    probe = PROBE.replace('"kind": "Secret"', '"kind": "ConfigMap"').format(number=1, format=FORMAT)
    first = commit(1, probe=probe, prod="config: {'kubernetes:context': blue, 'kubernetes:kubeconfig': hunter2}")
    commit(2, probe=probe, prod="config: {'kubernetes:context': green, 'kubernetes:kubeconfig': hunter3}")
    (prod,) = run(repository, base=first, stack=None, progress=Silent()).stacks
    assert [d.subject for d in prod.dangers] == ["kubernetes:context", "kubernetes:kubeconfig"]
    assert "hunter" not in repr(prod)


def test_the_checkout_stays_as_it_is_and_nothing_is_left(repository: Path, commit: Commit) -> None:
    first = commit(1, prod="x")
    before = git(repository, "status", "--porcelain", "--ignored"), git(repository, "worktree", "list")
    with revision.checked_out(repository, first) as there:
        place = there.folder
        assert values(revision.read(there, ["prod"])["prod"]) == [1]
    assert not place.exists()
    assert (git(repository, "status", "--porcelain", "--ignored"), git(repository, "worktree", "list")) == before


def test_links_that_lead_out_of_a_revision_are_left_out(repository: Path, commit: Commit) -> None:
    (repository / "out").symlink_to("/etc")
    (repository / "up").symlink_to("../..")
    (repository / "in").symlink_to("Pulumi.yaml")
    commit(1, prod="x")
    with revision.checked_out(repository, "HEAD") as there:
        assert {p.name for p in there.folder.iterdir() if p.is_symlink()} == {"in"}
        assert values(revision.read(there, ["prod"])["prod"]) == [1]


def test_a_project_in_a_subfolder_of_its_repository(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", "-b", "main")
    project = tmp_path / "platform"
    project.mkdir()
    (project / "Pulumi.yaml").write_text("name: headroom\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-q", "-m", "1")
    with revision.checked_out(project, "HEAD") as there:
        assert (there.folder / "Pulumi.yaml").is_file()


def test_the_default_base_is_where_the_branch_left_main(repository: Path, commit: Commit) -> None:
    left = commit(1, prod="x")
    git(repository, "checkout", "-q", "-b", "edit")
    commit(2)
    git(repository, "checkout", "-q", "main")
    commit(3)
    git(repository, "checkout", "-q", "edit")
    assert revision.default_base(repository) == left
    git(repository, "update-ref", "refs/remotes/origin/main", "HEAD")
    assert revision.default_base(repository) == git(repository, "rev-parse", "HEAD"), "origin/main goes first"


def test_without_a_main_branch_there_is_nothing_to_compare_with(repository: Path, commit: Commit) -> None:
    commit(1, prod="x")
    git(repository, "branch", "-m", "trunk")
    found = run(repository, base=None, stack=None, progress=Silent())
    assert found.failed
    assert ["nothing to compare with" in p for p in found.problems] == [True]


@pytest.mark.parametrize("base", ["nope", "HEAD~5", "--upload-pack=x", "", "HEAD:Pulumi.yaml"])
def test_a_base_that_does_not_exist_is_in_the_report(base: str, repository: Path, commit: Commit) -> None:
    commit(1, prod="x")
    if not base:
        with pytest.raises(InputError):
            revision.commit(repository, base)
        return
    found = run(repository, base=base, stack=None, progress=Silent())
    assert found.failed
    assert ["no revision" in p for p in found.problems] == [True]


def test_a_broken_stack_does_not_hide_the_others(repository: Path, commit: Commit) -> None:
    first = commit(1, prod="x", dev="x")
    commit(2, dev="broken")
    found = run(repository, base=first, stack=None, progress=Silent())
    assert found.failed
    dev, prod = found.stacks
    assert dev.problems == ("after the change: headroom:x is wrong — right it",)
    assert len(prod.settings) == 1


def test_stacks_that_come_and_go(repository: Path, commit: Commit) -> None:
    first = commit(1, old="x")
    commit(1, old=None, new="x")
    new, old = run(repository, base=first, stack=None, progress=Silent()).stacks
    assert (type(new.before), type(old.after)) == (Absent, Absent)


def test_a_stack_that_neither_revision_has(repository: Path, commit: Commit) -> None:
    first = commit(1, prod="x")
    with pytest.raises(InputError, match="no stack 'nope'"):
        run(repository, base=first, stack="nope", progress=Silent())


@pytest.mark.parametrize(
    ("probe", "format_", "told"),
    [
        (
            "raise ImportError('no module x with postgres://a:hunter2@b')",
            FORMAT,
            "does not run: ImportError: no module x",
        ),
        ("print('not json')", FORMAT, "does not run"),
        (None, FORMAT + 1, "answers in format"),
    ],
)
def test_code_that_cannot_answer_is_told_and_keeps_secrets(
    probe: str | None, format_: int, told: str, repository: Path, commit: Commit
) -> None:
    first = commit(1, format_=format_, probe=probe, prod="x")
    commit(2)
    found = run(repository, base=first, stack=None, progress=Silent())
    assert found.failed
    assert told in found.stacks[0].problems[0]
    assert "hunter2" not in json.dumps(found.stacks[0].problems)


def test_a_revision_from_before_this_command(repository: Path, commit: Commit) -> None:
    (repository / "Pulumi.yaml").write_text("name: headroom\n")
    (repository / "Pulumi.prod.yaml").write_text("x")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "0")
    first = git(repository, "rev-parse", "HEAD")
    commit(1)
    found = run(repository, base=first, stack="prod", progress=Silent())
    assert "older than this command" in found.stacks[0].problems[0]


def test_a_revision_without_the_project(repository: Path, commit: Commit) -> None:
    (repository / "README").write_text("x")
    git(repository, "add", "-A")
    git(repository, "commit", "-q", "-m", "0")
    commit(1, prod="x")
    found = run(repository, base="HEAD~1", stack=None, progress=Silent())
    assert ["has no Pulumi.yaml" in p for p in found.problems] == [True]


def test_secrets_are_dropped_even_if_a_revision_sends_them(repository: Path, commit: Commit) -> None:
    commit(1, prod="x")
    with revision.checked_out(repository, "HEAD") as there:
        state = revision.read(there, ["prod"])["prod"]
    assert isinstance(state, Snapshot)
    assert state.objects == ()


def test_a_broken_stack_type_is_broken(repository: Path, commit: Commit) -> None:
    commit(1, prod="broken")
    with revision.checked_out(repository, "HEAD") as there:
        assert revision.read(there, ["prod"])["prod"] == Broken("prod", "headroom:x is wrong", "right it")
