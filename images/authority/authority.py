"""The certificate authority of a stack's shards. Its key follows from a password that both ends have, so nothing is
kept or handed round: each shard's pod issues its own certificate with it; PgBouncer and the other pods check that.

When the password changes, everybody learns of it within the kubelet's refresh of a Secret, but not at once. So the new
authority is trusted from the first moment, certificates of it are shown a little later, and the old one is forgotten
last.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ISSUE_AFTER_S = 180.0
"""By then every pod has seen a changed Secret: the kubelet refreshes it within a minute or so."""
FORGET_AFTER_S = 2 * ISSUE_AFTER_S
DAYS = "3650"
SUBJECT = "/CN=headroom shards"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256, FIPS 186-4 D.1.2.3
_EXTENSIONS = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE,pathlen:0
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[server]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = serverAuth
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


def private_key(seed: str) -> str:
    """The authority's key as PEM (SEC 1): the same for the same seed, and the seed cannot be told from it.

    P-256, because channel binding (RFC 5929) has no hash for certificates that Ed25519 signed.
    """
    scalar = int.from_bytes(hmac.digest(seed.encode(), b"headroom shards: key", "sha512"), "big") % (_ORDER - 1) + 1
    # ECPrivateKey { 1, scalar, [0] prime256v1 }; OpenSSL computes the public key, which is left out.
    der = bytes.fromhex("3031020101 0420") + scalar.to_bytes(32, "big") + bytes.fromhex("a00a06082a8648ce3d030107")
    return f"-----BEGIN EC PRIVATE KEY-----\n{base64.encodebytes(der).decode()}-----END EC PRIVATE KEY-----\n"


def fingerprint(seed: str) -> str:
    """12 hex digits that tell one seed's authority from another's."""
    return hmac.digest(seed.encode(), b"headroom shards: name", hashlib.sha256).hex()[:12]


class Trust:
    """The authorities that are trusted at this moment; kept in `folder`, so that a restarted container goes on."""

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder / "authorities", clock
        self._newest = ""
        self._since = float("-inf")

    def bundle(self, seed: str) -> str:
        """Certificates (PEM) of the seed's authority and of those before it that are not forgotten yet."""
        self._folder.mkdir(exist_ok=True)
        name = fingerprint(seed)
        own = self._folder / f"{name}.crt"
        others = [file for file in sorted(self._folder.glob("*.crt")) if file != own]
        if name != self._newest:
            self._newest = name
            self._since = self._clock() if others else float("-inf")
        if not own.exists():
            _openssl(self._folder, ["-extensions", "authority", "-key", "/dev/stdin", "-subj", SUBJECT], own, seed)
        if self._clock() - self._since >= FORGET_AFTER_S:
            for file in others:
                file.unlink()
            others = []
        return "".join(file.read_text() for file in (own, *others))

    def spread(self) -> bool:
        """Whether everybody trusts the newest authority by now, so that its certificates may be shown."""
        return self._clock() - self._since >= ISSUE_AFTER_S


def issue(folder: Path, seed: str, common_name: str, names: Sequence[str]) -> None:
    """A new `server.key` and `server.crt` in `folder`; `names` are entries such as `DNS:…` and `IP:…`."""
    key, fresh = folder / "server.key", folder / "server.key.new"
    fresh.touch(mode=0o600)
    request = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(fresh)]
    with_authority = folder / "issuer.crt"
    _openssl(folder, ["-extensions", "authority", "-key", "/dev/stdin", "-subj", SUBJECT], with_authority, seed)
    signed = [
        "-extensions",
        "server",
        "-CA",
        str(with_authority),
        "-CAkey",
        "/dev/stdin",
        "-subj",
        f"/CN={common_name}",
    ]
    _openssl(folder, [*request, *signed], folder / "server.crt", seed, names)
    fresh.replace(key)
    with_authority.unlink()


def _openssl(folder: Path, arguments: Sequence[str], out: Path, seed: str, names: Sequence[str] = ()) -> None:
    """`openssl req -x509`, with the authority's key on standard input. Raises OSError when it fails."""
    config, fresh = folder / "openssl.cnf", out.with_suffix(".crt.new")
    config.write_text(_EXTENSIONS + (f"subjectAltName = {','.join(names)}\n" if names else ""))
    command = ["openssl", "req", "-x509", "-new", "-sha256", "-days", DAYS, "-config", str(config), *arguments]
    key = private_key(seed)
    done = subprocess.run([*command, "-out", str(fresh)], input=key, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"openssl: {done.stderr.strip()[-300:]}")
    config.unlink()
    fresh.replace(out)
