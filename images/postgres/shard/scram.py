"""SCRAM-SHA-256 verifiers as PostgreSQL keeps them (RFC 5803): the server never sees a password in a statement."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

ITERATIONS = 4096


def verifier(password: str, salt: bytes | None = None, iterations: int = ITERATIONS) -> str:
    """`SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`. Passwords are ASCII, which SASLprep leaves alone."""
    salt = salt or secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    return f"SCRAM-SHA-256${iterations}:{_text(salt)}${_text(stored)}:{_text(server)}"


def matches(password: str, kept: str | None) -> bool:
    """Whether a verifier that the server keeps is one of this password."""
    try:
        method, middle, _ = (kept or "").split("$")
        iterations, salt = middle.split(":")
        same = verifier(password, base64.b64decode(salt, validate=True), int(iterations))
    except ValueError:
        return False
    return method == "SCRAM-SHA-256" and hmac.compare_digest(same, str(kept))


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
