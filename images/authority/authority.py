"""The certificate authority of a stack's shards. Its key follows from a password that both ends have, so nothing is
kept or handed round: each shard's pod issues its own certificate with it; PgBouncer and the other pods check that.

When the password changes, everybody learns of it within the kubelet's refresh of a Secret, but not at once. So the old
authority vouches for the new one, and is forgotten later: who knows either of them believes a new certificate.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

FORGET_AFTER_S = 300.0
"""By then every pod has seen a changed Secret: the kubelet refreshes it within a minute or so."""
DAYS = "3650"
_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # of P-256, FIPS 186-4 D.1.2.3
_EXTENSIONS = """
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
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
            _authority(self._folder, seed, own)
        if self._clock() - self._since >= FORGET_AFTER_S:
            for file in others:
                file.unlink()
            others = []
        return "".join(file.read_text() for file in (own, *others))


def issue(folder: Path, seed: str, common_name: str, names: Sequence[str], before: str | None = None) -> None:
    """A new `server.key` and `server.crt` in `folder`; `names` are entries such as `DNS:…` and `IP:…`.

    `before` is the seed of the authority that vouches for a new one. Raises OSError when OpenSSL fails.
    """
    key, fresh, chain, issuer = (folder / name for name in ("server.key", "new.key", "chain.pem", "issuer.pem"))
    _authority(folder, seed, issuer)
    fresh.touch(mode=0o600)
    asked = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", str(fresh)]
    _openssl(folder, [*asked, *_server(common_name), "-CA", str(issuer), *SIGNED], chain, seed, names)
    if before is not None:
        vouched, subject = folder / "vouched.pem", folder / "subject.key"
        _authority(folder, before, issuer)
        subject.touch(mode=0o600)
        subject.write_text(private_key(seed))
        _openssl(folder, ["-key", str(subject), *_named(seed), "-CA", str(issuer), *SIGNED], vouched, before)
        chain.write_text(chain.read_text() + vouched.read_text())
        vouched.unlink()
        subject.unlink()
    issuer.unlink()
    chain.replace(folder / "server.crt")
    fresh.replace(key)


SIGNED = ["-CAkey", "/dev/stdin"]


def _authority(folder: Path, seed: str, out: Path) -> None:
    _openssl(folder, ["-key", "/dev/stdin", *_named(seed)], out, seed)


def _named(seed: str) -> list[str]:
    return ["-extensions", "authority", "-subj", f"/CN=headroom shards {fingerprint(seed)}"]


def _server(common_name: str) -> list[str]:
    return ["-extensions", "server", "-subj", f"/CN={common_name}"]


def _openssl(folder: Path, arguments: Sequence[str], out: Path, seed: str, names: Sequence[str] = ()) -> None:
    """`openssl req -x509`, with an authority's key on standard input. Raises OSError when it fails."""
    config, fresh = folder / "openssl.cnf", out.with_suffix(".new")
    config.write_text(_EXTENSIONS + (f"subjectAltName = {','.join(names)}\n" if names else ""))
    command = ["openssl", "req", "-x509", "-new", "-sha256", "-days", DAYS, "-config", str(config), *arguments]
    key = private_key(seed)
    done = subprocess.run([*command, "-out", str(fresh)], input=key, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"openssl: {done.stderr.strip()[-300:]}")
    config.unlink()
    fresh.replace(out)
