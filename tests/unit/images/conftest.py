"""A small project of its own, so that a test may change what an image is made of."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project's root with the inputs of `redis` and `inference`."""
    for path, text in {
        "Pulumi.yaml": "name: headroom\n",
        "README.md": "about\n",
        "images/redis/Containerfile": "FROM debian:12-slim\n",
        "images/redis/bin/healthcheck": "#!/bin/sh\n",
        "images/inference/Containerfile": "FROM debian:12-slim\n",
        "inference/__init__.py": "",
        "inference/app.py": "APP = 1\n",
    }.items():
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    (tmp_path / "images/redis/bin/healthcheck").chmod(0o755)
    return tmp_path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache for this test alone."""
    monkeypatch.setenv("HEADROOM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "images"
