"""How this machine reaches package archives: its Debian mirror, its proxies, its package index, its certificates.

A build borrows them as files that are mounted while it runs. Nothing of them gets into an image, its history or its
environment.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SUITES = ("bookworm", "bookworm-updates", "bookworm-security")
DEFAULT_MIRROR = "http://deb.debian.org/debian"
DEFAULT_SECURITY = "http://deb.debian.org/debian-security"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
CA_VARIABLES = ("SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
CA_BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")
# /mnt is empty in every base image, so mounting there leaves no trace of a folder in a layer.
MOUNTED = "/mnt"
CERTIFICATES = f"{MOUNTED}/ca.pem"
ACQUIRE = re.compile(r'^(Acquire::(?:https?::|Retries|Check-Date|Check-Valid-Until|ForceIPv[46])\S*) "(.*)";$')
PIP_SETTING = re.compile(r"^(?:global|user|site|install|download|:env:)\.([a-z-]+)='(.*)'$", re.MULTILINE)
PIP_KEPT = ("index-url", "extra-index-url", "trusted-host", "proxy", "timeout", "retries", "default-timeout")


@dataclass(frozen=True)
class Mirror:
    """One entry of the machine's Debian sources."""

    uri: str
    suite: str


def mirrors(apt: Path = Path("/etc/apt")) -> list[Mirror]:
    """Debian 12's own archives as this machine's sources name them; the public ones where it names none.

    Sources of other publishers, or of another release, are no part of the base.
    """
    found: list[Mirror] = []
    for file in sorted((apt / "sources.list.d").glob("*.sources")):
        for stanza in re.split(r"\n\s*\n", file.read_text(encoding="utf-8", errors="replace")):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
            if "deb" in fields.get("Types", "").split() and fields.get("Enabled", "yes") != "no":
                found += _entries(
                    fields.get("URIs", "").split(), fields.get("Suites", "").split(), fields.get("Components", "")
                )
    for file in (apt / "sources.list", *sorted((apt / "sources.list.d").glob("*.list"))):
        text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        for uri, suite, components in re.findall(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s+(.*)$", text, re.MULTILINE):
            found += _entries([uri], [suite], components)
    if not any(mirror.suite == SUITES[0] for mirror in found):
        return [Mirror(DEFAULT_MIRROR, suite) for suite in SUITES[:2]] + [Mirror(DEFAULT_SECURITY, SUITES[2])]
    return list(dict.fromkeys(found))


def _entries(uris: list[str], suites: list[str], components: str) -> list[Mirror]:
    if "main" not in components.split():
        return []
    return [Mirror(uri, suite) for uri in uris for suite in suites if suite in SUITES]


def certificates() -> Path | None:
    """The machine's bundle of certificate authorities, with those of an inspecting proxy in it; None if it has none."""
    named = [os.environ[variable] for variable in CA_VARIABLES if os.environ.get(variable)]
    return next((Path(path) for path in (*named, *CA_BUNDLES) if Path(path).is_file()), None)


def sources_text() -> str:
    """The sources for apt inside a build."""
    return "\n".join(
        f"Types: deb\nURIs: {mirror.uri}\nSuites: {mirror.suite}\nComponents: main\nSigned-By: {KEYRING}\n"
        for mirror in mirrors()
    )


def apt_conf_text() -> str:
    """The settings for apt inside a build: the machine's proxies and date checks, its certificates, no caches kept."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    lines = [line for line in dump.splitlines() if ACQUIRE.match(line) and "::CaInfo" not in line]
    if certificates():
        lines.append(f'Acquire::https::CaInfo "{CERTIFICATES}";')
    return "\n".join([*lines, 'Acquire::Languages "none";', ""])


def pip_conf_text() -> str:
    """The settings for pip inside a build: the machine's index and proxy, its certificates."""
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=False
    ).stdout
    settings = {key: value for key, value in PIP_SETTING.findall(listed.replace("\r", "")) if key in PIP_KEPT}
    if certificates():
        settings["cert"] = CERTIFICATES
    return "\n".join(["[global]", "disable-pip-version-check = true", *(f"{k} = {v}" for k, v in settings.items()), ""])


def mounts(folder: Path) -> list[tuple[Path, str]]:
    """Write the borrowed files into `folder` (which only we may read) and name where each is mounted, read-only.

    The targets exist in the base image: a mount point that a build has to make would stay in its layer.
    """
    folder.mkdir(mode=0o700)
    shared = folder / "mnt"
    sources = folder / "sources.list.d"
    for made in (shared, sources):
        made.mkdir(mode=0o755)
    (sources / "debian.sources").write_text(sources_text(), encoding="utf-8")
    (folder / "apt.conf").write_text(apt_conf_text(), encoding="utf-8")
    (folder / "pip.conf").write_text(pip_conf_text(), encoding="utf-8")
    bundle = certificates()
    if bundle:
        (shared / "ca.pem").write_bytes(bundle.read_bytes())
    return [
        (shared, MOUNTED),
        (sources, "/etc/apt/sources.list.d"),
        (folder / "apt.conf", "/etc/apt/apt.conf"),
        (folder / "pip.conf", "/etc/pip.conf"),
    ]
