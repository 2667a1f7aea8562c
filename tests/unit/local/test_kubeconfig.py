"""Who may read the embedded cluster's kubeconfigs, which hold the keys of its administrators."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from headroom.local import pki, record, room


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.parametrize("client", ["admin", "kubelet"])
@pytest.mark.usefixtures("open_umask")
def test_a_kubeconfig_is_its_users_alone(tmp_path: Path, client: str) -> None:
    (tmp_path / "pki").mkdir()
    for file in ("ca.crt", f"{client}.crt", f"{client}.key"):
        (tmp_path / "pki" / file).write_text("first")
    made = record.Record(id="01234567", nodes="fake", fake_nodes=3, room="namespace", network=200, ports=room.PORTS)
    path = pki.kubeconfig(tmp_path, made, client, "headroom")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (tmp_path / "pki" / f"{client}.key").write_text("second")
    before = path.read_text()
    assert pki.kubeconfig(tmp_path, made, client, "headroom").read_text() != before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
