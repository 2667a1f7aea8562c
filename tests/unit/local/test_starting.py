"""Processes that die while a cluster starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from headroom.errors import EnvironmentFailure
from headroom.local import processes, starting
from headroom.local.controlplane import Part
from headroom.progress import Silent


class Heard(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def test_a_part_that_dies_is_started_once_more_and_no_more(tmp_path: Path) -> None:
    state, heard = tmp_path / "state", Heard()
    state.mkdir()
    part = Part("mortal", ["/bin/sh", "-c", f"echo born >> {tmp_path}/lives; echo no luck; exit 3"])
    starting.ensure_running(state, part, None)
    with pytest.raises(EnvironmentFailure, match="mortal ended: no luck"):
        starting.wait(state, [part], "nothing", lambda: False, heard, None)
    assert (tmp_path / "lives").read_text().split() == ["born", "born"]
    assert heard.notes == ["mortal ended and is started again; its log has why"]


def test_one_that_lives_the_second_time_is_waited_for(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    once = f"test -e {tmp_path}/born && exec sleep 60; touch {tmp_path}/born; exit 3"
    part = Part("mortal", ["/bin/sh", "-c", once])
    starting.ensure_running(state, part, None)
    try:
        starting.wait(
            state,
            [part],
            "its second life",
            lambda: (tmp_path / "born").exists() and processes.living(state, "mortal") is not None,
            Silent(),
            None,
        )
    finally:
        processes.stop_all(processes.strays(state))
