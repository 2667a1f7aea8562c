"""A cluster with fake nodes for the tests of this folder: one a pytest process, gone at its end."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from headroom import local


@pytest.fixture(scope="session")
def cluster() -> Iterator[local.Cluster]:
    """The cluster that HEADROOM_TEST_CLUSTER names, left as it is, if its nodes are fake; else one of our own."""
    given = local.find(os.environ.get("HEADROOM_TEST_CLUSTER") or "no-cluster-has-this-name")
    if given is not None and given.nodes == "fake":
        yield given
        return
    name = f"test-fake-{os.getpid()}"
    try:
        yield local.up(name, nodes="fake")
    finally:
        local.down(name)
