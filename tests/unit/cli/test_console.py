"""Commands that are printed name the cluster of the run."""

from __future__ import annotations

import pytest

from headroom.cli import console


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "_here", [])


def test_on_the_default_cluster_there_is_nothing_to_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert console.here() == ""
    console.remind("headroom up --stack prod")
    assert capsys.readouterr().err == ""


def test_elsewhere_a_command_names_it_or_is_followed_by_it(capsys: pytest.CaptureFixture[str]) -> None:
    console.on_cluster("--context eu")
    whole = f"headroom up --stack prod{console.here()}"
    assert whole == "headroom up --stack prod --context eu"
    console.remind(whole)
    console.remind("add a node")
    assert capsys.readouterr().err == ""
    console.remind("headroom up --stack prod")
    assert "with --context eu, as here" in capsys.readouterr().err
