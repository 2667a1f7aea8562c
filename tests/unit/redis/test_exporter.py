"""The exporter's password: a file that names the one server it is for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from headroom_redis import exporter  # type: ignore[import-not-found]


def test_the_password_is_for_the_pods_own_server_alone(
    fleet: Callable[[str], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The program itself, which sends it to no other address, is tried on real pods."""
    own = fleet("sentinel").settings(0)
    programs = tmp_path / "bin"
    programs.mkdir()
    stand_in = programs / "prometheus-redis-exporter"
    stand_in.write_text(f'#!/bin/sh\necho "$*" >{tmp_path}/told; env >>{tmp_path}/told\n')
    stand_in.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    assert exporter.run(own) == 0
    held = own.run / "exporter.json"
    assert json.loads(held.read_text()) == {"redis://127.0.0.1:6379": own.password("monitor")}
    assert held.stat().st_mode & 0o077 == 0
    told = (tmp_path / "told").read_text()
    assert f"-redis.password-file={held}" in told
    assert own.password("monitor") not in told
