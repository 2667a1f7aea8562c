"""What a build borrows from the machine: Debian's own archives only, and settings that are mounted, never copied."""

from __future__ import annotations

from pathlib import Path

import pytest

from headroom.local.images import host
from headroom.local.images.host import Mirror

OTHERS = """\
Types: deb
URIs: https://download.example/linux/debian
Suites: bookworm
Components: stable

Types: deb
URIs: https://tools.example/apt
Suites: tools-bookworm
Components: main
"""


@pytest.fixture
def apt(tmp_path: Path) -> Path:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d/others.sources").write_text(OTHERS, encoding="utf-8")
    return tmp_path


def test_the_machines_mirror_is_used_and_other_publishers_are_not(apt: Path) -> None:
    (apt / "sources.list.d/debian.sources").write_text(
        "Types: deb\n# ours\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\n"
        "Components: main contrib\n\nTypes: deb-src\nURIs: http://source.example\nSuites: bookworm\nComponents: main\n",
        encoding="utf-8",
    )
    assert host.mirrors(apt) == [
        Mirror("http://mirror.example/debian", "bookworm"),
        Mirror("http://mirror.example/debian", "bookworm-updates"),
    ]


def test_one_line_sources_are_read_too(apt: Path) -> None:
    (apt / "sources.list").write_text(
        "# deb http://off.example bookworm main\n"
        "deb [signed-by=/k.gpg] http://mirror.example/debian bookworm main\n"
        "deb http://mirror.example/security bookworm-security main contrib\n"
        "deb http://mirror.example/debian trixie main\n",
        encoding="utf-8",
    )
    assert host.mirrors(apt) == [
        Mirror("http://mirror.example/debian", "bookworm"),
        Mirror("http://mirror.example/security", "bookworm-security"),
    ]


def test_a_machine_of_another_release_uses_the_public_archive(apt: Path) -> None:
    (apt / "sources.list").write_text("deb http://archive.example/ubuntu noble main\n", encoding="utf-8")
    assert host.mirrors(apt) == [
        Mirror("http://deb.debian.org/debian", "bookworm"),
        Mirror("http://deb.debian.org/debian", "bookworm-updates"),
        Mirror("http://deb.debian.org/debian-security", "bookworm-security"),
    ]


def test_index_and_certificates_reach_pip_as_files_that_only_we_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "proxy-ca.pem"
    bundle.write_text("CERTIFICATES\n", encoding="utf-8")
    for variable in host.CA_VARIABLES:
        monkeypatch.setenv(variable, str(bundle))
    monkeypatch.setenv("PIP_INDEX_URL", "https://user:word@index.example/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/somewhere/here")
    mounted = {target: source for source, target in host.mounts(tmp_path / "borrowed")}
    assert (tmp_path / "borrowed").stat().st_mode & 0o777 == 0o700
    pip = mounted["/etc/pip.conf"].read_text(encoding="utf-8")
    assert "index-url = https://user:word@index.example/simple" in pip
    assert "cert = /mnt/ca.pem" in pip
    assert "find-links" not in pip  # a folder of this machine is none of the build's
    assert (mounted["/mnt"] / "ca.pem").read_text(encoding="utf-8") == "CERTIFICATES\n"
    assert 'Acquire::https::CaInfo "/mnt/ca.pem";' in mounted["/etc/apt/apt.conf"].read_text(encoding="utf-8")
