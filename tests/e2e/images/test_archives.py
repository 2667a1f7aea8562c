"""What is in the archives: the settings that pods rely on, a size that stays small, nothing of this machine."""

from __future__ import annotations

import json
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from headroom.local import images
from headroom.local.images import host
from headroom.progress import Silent

pytestmark = pytest.mark.e2e

# docs/images.md has the sizes measured; these leave a tenth for updates of Debian and the libraries.
LIMIT_MIB = {"inference": 345, "postgres": 305, "pgbouncer": 135, "redis": 145, "h2o": 700}
# What /etc may hold of a machine's way to its archives: nothing.
EMPTY = ("etc/pip.conf", "etc/apt/apt.conf", "etc/resolv.conf", "etc/hostname")


@pytest.fixture(params=images.NAMES)
def archive(request: pytest.FixtureRequest) -> tuple[str, Path]:
    return request.param, images.build(request.param, Silent())


def settings(archive: Path) -> tuple[dict[str, Any], list[str]]:
    """The image's configuration, and its layers' names."""
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))[0]  # type: ignore[arg-type]
        return json.load(tar.extractfile(manifest["Config"])), manifest["Layers"]  # type: ignore[arg-type]


def contents(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of every regular file under /etc, /mnt, /run, /root and /tmp, in every layer."""
    with tarfile.open(archive) as tar:
        for name in dict.fromkeys(settings(archive)[1]):
            with tarfile.open(fileobj=tar.extractfile(name)) as layer:
                for member in layer:
                    path = member.name.removeprefix("./")
                    if member.isfile() and path.split("/")[0] in ("etc", "mnt", "run", "root", "tmp"):
                        yield path, layer.extractfile(member).read()  # type: ignore[union-attr]


def test_configuration(archive: tuple[str, Path]) -> None:
    name, path = archive
    with tarfile.open(path) as tar:
        assert json.load(tar.extractfile("manifest.json"))[0]["RepoTags"] == [images.ref(name)]  # type: ignore[arg-type]
    config = settings(path)[0]["config"]
    assert config["User"] == "999:999"
    assert config["Healthcheck"]["Test"] == ["CMD", "/usr/local/bin/healthcheck"]
    assert not [entry for entry in config["Env"] if re.match(r"(?i)(https?_proxy|pip_|.*cert|.*ca_bundle)", entry)]


def test_the_user_is_known_and_the_machine_is_not(archive: tuple[str, Path]) -> None:
    name, path = archive
    known = host.pip_conf_text() + host.apt_conf_text() + "".join(mirror.uri + "\n" for mirror in host.mirrors())
    known += "".join(value + "\n" for key, value in os.environ.items() if key.lower().endswith("_proxy"))
    hosts = {urlsplit(url).hostname or "" for url in re.findall(r"https?://\S+", known)}
    secrets = {name.encode() for name in hosts - {"deb.debian.org", "pypi.org", ""}}
    bundle = host.certificates()
    if bundle and "BEGIN CERTIFICATE" in bundle.read_text(encoding="utf-8"):
        # The last certificate of a bundle is where an administrator's own is added.
        secrets.add(bundle.read_bytes().rstrip().splitlines()[-3])
    found: dict[str, bytes] = {}
    for file, content in contents(path):
        found[file] = content
        assert not file.startswith(("mnt/", "root/.cache", "tmp/")), file
        if not file.startswith("etc/ssl/certs/"):
            assert not [secret for secret in secrets if secret in content], file
    assert b":999:999:" in found["etc/passwd"]
    assert not [file for file in EMPTY if found.get(file)]
    history = json.dumps(settings(path)[0]["history"]).encode()
    assert not [secret for secret in secrets if secret in history]
    assert name in images.ref(name)


def test_it_is_small(archive: tuple[str, Path]) -> None:
    name, path = archive
    assert path.stat().st_size / 2**20 < LIMIT_MIB[name]


def test_a_second_build_takes_the_cached_archive(archive: tuple[str, Path]) -> None:
    name, path = archive
    before = path.stat()
    assert images.build(name, Silent()) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
