"""Whoever waits for a build hears what it does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headroom.local.images import base, buildah, store

pytestmark = pytest.mark.e2e


class Details:
    """Progress that keeps the news."""

    def __init__(self) -> None:
        self.details: list[str] = []

    def begin(self, text: str) -> None: ...
    def detail(self, text: str) -> None:
        self.details.append(text)

    def end(self, text: str, *, ok: bool) -> None: ...
    def note(self, text: str) -> None: ...


@pytest.mark.skipif(os.geteuid() != 0, reason="buildah is used as root")
def test_the_lines_of_a_build_are_its_news(tmp_path: Path) -> None:
    (tmp_path / "Containerfile").write_text(f"FROM {base.IMAGE}\nRUN echo unpacking something large\n")
    told = Details()
    with store.locked(told), store.workspace() as work:
        builder = buildah.Builder(work, told, tmp_path / "log")
        builder.build("localhost/headroom/told:1", tmp_path / "Containerfile", tmp_path, work / "told.tar")
        assert (work / "told.tar").is_file()
        builder._buildah("rmi", "localhost/headroom/told:1")
    assert "unpacking something large" in told.details
