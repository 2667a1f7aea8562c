"""An image's tag changes when, and only when, what it is made of does."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from headroom.errors import InputError
from headroom.local import images
from headroom.local.images import base, inputs

CHANGES: dict[str, Callable[[Path], object]] = {
    "a line of the Containerfile": lambda root: (root / "images/redis/Containerfile").write_text("FROM debian\n"),
    "a script": lambda root: (root / "images/redis/bin/healthcheck").write_text("#!/bin/bash\n"),
    "a script's executable bit": lambda root: (root / "images/redis/bin/healthcheck").chmod(0o644),
    "a new file": lambda root: (root / "images/redis/bin/entrypoint").write_text(""),
    "a file's name": lambda root: (root / "images/redis/bin/healthcheck").rename(root / "images/redis/bin/check"),
    "a file less": lambda root: (root / "images/redis/bin/healthcheck").unlink(),
}
NO_CHANGES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda root: None,
    "a file's time": lambda root: os.utime(root / "images/redis/Containerfile", (1, 1)),
    "a group's right to read": lambda root: (root / "images/redis/Containerfile").chmod(0o600),
    "the app of another image": lambda root: (root / "inference/app.py").write_text("APP = 2\n"),
    "another image": lambda root: (root / "images/inference/Containerfile").write_text("FROM scratch\n"),
    "a page of the project": lambda root: (root / "README.md").write_text("more\n"),
    "a file of an editor": lambda root: (root / "images/redis/.Containerfile.swp").write_text("x"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_input_gives_another_ref(tree: Path, change: str) -> None:
    before = inputs.ref("redis", tree)
    CHANGES[change](tree)
    assert inputs.ref("redis", tree) != before


@pytest.mark.parametrize("change", NO_CHANGES)
def test_what_is_no_input_leaves_the_ref(tree: Path, change: str) -> None:
    before = inputs.ref("redis", tree)
    NO_CHANGES[change](tree)
    assert inputs.ref("redis", tree) == before


def test_the_app_is_an_input_of_its_image_and_its_caches_are_not(tree: Path) -> None:
    before = inputs.ref("inference", tree)
    (tree / "inference/__pycache__").mkdir()
    (tree / "inference/__pycache__/app.cpython-311.pyc").write_bytes(b"\0")
    assert inputs.ref("inference", tree) == before
    (tree / "inference/app.py").write_text("APP = 2\n", encoding="utf-8")
    assert inputs.ref("inference", tree) != before


def test_a_change_of_the_base_changes_every_ref(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = inputs.ref("redis", tree)
    recipe = tmp_path / "base.sh"
    recipe.write_text(base.RECIPE.read_text(encoding="utf-8") + "# newer\n", encoding="utf-8")
    monkeypatch.setattr(base, "RECIPE", recipe)
    assert inputs.ref("redis", tree) != before


def test_the_ref_does_not_depend_on_where_the_checkout_is(tree: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tree, elsewhere, ignore=shutil.ignore_patterns("elsewhere"))
    assert inputs.ref("redis", elsewhere) == inputs.ref("redis", tree)


def test_the_build_sees_exactly_what_was_hashed(tree: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    containerfile = inputs.stage("inference", context, tree)
    assert inputs.digest("inference", context) == inputs.digest("inference", tree)
    staged = {file.relative_to(context).as_posix() for file in context.rglob("*") if file.is_file()}
    assert staged == {"images/inference/Containerfile", "inference/__init__.py", "inference/app.py"}
    assert containerfile == context / "images/inference/Containerfile"


@pytest.mark.parametrize("name", images.NAMES)
def test_every_image_has_a_ref_that_is_never_latest(name: str) -> None:
    assert re.fullmatch(rf"localhost/headroom/{name}:[0-9a-f]{{12}}", images.ref(name))


def test_an_unknown_image_names_the_ones_there_are() -> None:
    with pytest.raises(InputError, match="inference, postgres, pgbouncer, redis, h2o"):
        images.ref("mysql")
