"""Debian packages: found, or named to the person; never installed without a word."""

from __future__ import annotations

import shutil

import pytest

from headroom.errors import EnvironmentFailure
from headroom.local import packages
from headroom.progress import Silent

DEBIAN = pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="needs Debian or Ubuntu")
NOWHERE = "headroom-no-such-package"


@DEBIAN
def test_installed_packages_are_not_missing_and_keep_their_order() -> None:
    assert packages.missing(["dpkg", NOWHERE, "bash", f"{NOWHERE}-2"]) == [NOWHERE, f"{NOWHERE}-2"]


def test_everything_is_missing_where_there_is_no_dpkg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert packages.missing(["dpkg", "bash"]) == ["dpkg", "bash"]


@DEBIAN
def test_what_is_there_asks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "can_install", lambda: False)
    packages.ensure(["dpkg", "bash"], Silent())


@DEBIAN
def test_without_root_the_person_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "can_install", lambda: False)
    with pytest.raises(EnvironmentFailure) as failure:
        packages.ensure(["bash", NOWHERE], Silent())
    assert failure.value.message.endswith(f"missing: {NOWHERE}")
    assert f"sudo apt-get install --no-install-recommends {NOWHERE}" in failure.value.fix
