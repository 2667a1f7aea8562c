"""Which engine is chosen, without a network: the installer's host is looked up in a name space that has none."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from headroom.engine import select
from headroom.engine.model import Target
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl

TARGET = Target(Kubectl(Path("/nonexistent/kubectl"), Path("/nonexistent/kubeconfig")), "a test")


class Notes:
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.begun: list[str] = []

    def begin(self, text: str) -> None:
        self.begun.append(text)

    def detail(self, text: str) -> None: ...
    def end(self, text: str, *, ok: bool) -> None: ...
    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No pulumi on PATH, an empty cache, and a proxy where nobody listens."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("HEADROOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("HEADROOM_ENGINE", raising=False)
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_offline_it_says_so_in_one_line_and_looks_only_once(offline: Path) -> None:
    progress = Notes()
    assert select.choose(TARGET, progress).name == "kubectl"
    assert select.choose(TARGET, progress).name == "kubectl"
    assert progress.begun == ["looking for the Pulumi CLI's installer"]
    assert len(progress.notes) == 2
    assert "\n" not in progress.notes[0]


def test_a_failure_is_forgotten_after_a_day(offline: Path) -> None:
    progress = Notes()
    select.choose(TARGET, progress)
    failed = offline / "cache" / "pulumi-installer-failed"
    os.utime(failed, (time.time() - select.FORGET - 60,) * 2)
    select.choose(TARGET, progress)
    assert len(progress.begun) == 2


def test_the_cli_on_path_comes_first(offline: Path) -> None:
    cli = offline / "bin" / "pulumi"
    cli.parent.mkdir()
    cli.write_text("#!/bin/sh\n")
    cli.chmod(0o755)
    progress = Notes()
    assert select.choose(TARGET, progress).name == "pulumi"
    assert progress.begun == []


def test_the_cli_in_the_cache_is_used(offline: Path) -> None:
    cli = offline / "cache" / "pulumi" / "bin" / "pulumi"
    cli.parent.mkdir(parents=True)
    cli.write_text("#!/bin/sh\n")
    assert select.choose(TARGET, Notes()).name == "pulumi"


def test_one_can_be_asked_for(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADROOM_ENGINE", "kubectl")
    progress = Notes()
    assert select.choose(TARGET, progress).name == "kubectl"
    assert progress.begun == progress.notes == []
    monkeypatch.setenv("HEADROOM_ENGINE", "pulumi")
    with pytest.raises(EnvironmentFailure, match="Pulumi CLI"):
        select.choose(TARGET, Notes())
    monkeypatch.setenv("HEADROOM_ENGINE", "helm")
    with pytest.raises(EnvironmentFailure, match="helm is no engine"):
        select.choose(TARGET, Notes())
