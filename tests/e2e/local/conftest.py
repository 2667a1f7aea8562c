"""A tiny image for the tests of the cluster itself, and kubectl on that cluster."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from headroom import local
from headroom.local import containers, golang
from headroom.progress import Silent

IMAGE = "localhost/headroom-toolbox:1"


@pytest.fixture(scope="session")
def toolbox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of an image whose only file is the toolbox, built from the folder beside this file."""
    folder = tmp_path_factory.mktemp("toolbox")
    source = Path(__file__).parent / "toolbox"
    golang.find(Silent()).run(["build", "-trimpath", "-ldflags=-s -w", "-o", str(folder / "toolbox"), "."], source)
    return containers.archive_of(folder / "toolbox.tar", IMAGE, {"/toolbox": folder / "toolbox"}, ["/toolbox"])


@pytest.fixture(scope="session")
def image(cluster: local.Cluster, toolbox: Path) -> str:
    """The toolbox on the node."""
    local.import_image(cluster, toolbox, IMAGE)
    return IMAGE


@pytest.fixture(scope="session")
def kubectl(cluster: local.Cluster) -> Callable[..., str]:
    """kubectl with the cluster's own kubeconfig; fails the test with its words."""

    def run(*arguments: str, stdin: str | None = None) -> str:
        command = [str(cluster.kubectl), "--kubeconfig", str(cluster.kubeconfig), *arguments]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    return run
