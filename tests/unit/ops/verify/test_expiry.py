"""When certificates of a stack expire: real certificates, of every age."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from headroom.ops.verify import Verdict
from headroom.ops.verify.expiry import of_secret

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def pem(days: float) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "shard")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days))
        .sign(KEY, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM)


def secret(kind: str = "kubernetes.io/tls", **data: bytes) -> dict[str, Any]:
    coded = {key.replace("_", "."): base64.b64encode(value).decode() for key, value in data.items()}
    return {"metadata": {"name": "front", "namespace": "ml"}, "type": kind, "data": coded}


@pytest.mark.parametrize(
    ("days", "verdict", "words"),
    [
        (200, Verdict.passed, "200 days left"),
        (31, Verdict.passed, "31 days left"),
        (29, Verdict.warned, "29 days left"),
        (8, Verdict.warned, "8 days left"),
        (6, Verdict.failed, "6 days left"),
        (-3, Verdict.failed, "expired 3 days ago"),
    ],
)
def test_a_month_is_a_warning_and_a_week_a_failure(days: int, verdict: Verdict, words: str) -> None:
    found = of_secret(secret(tls_crt=pem(days), tls_key=b"private"), NOW)
    assert found is not None
    assert found.verdict is verdict
    assert words in found.evidence
    assert bool(found.fix) is (verdict is not Verdict.passed)


def test_the_first_of_a_chain_to_expire_counts() -> None:
    found = of_secret(secret(tls_crt=pem(300) + pem(5)), NOW)
    assert found is not None
    assert found.verdict is Verdict.failed


def test_an_authority_in_an_ordinary_secret_counts_too() -> None:
    found = of_secret(secret("Opaque", password=b"hunter2", ca_crt=pem(10)), NOW)
    assert found is not None
    assert found.verdict is Verdict.warned
    assert "hunter2" not in str(found)


def test_passwords_and_keys_are_not_looked_at() -> None:
    assert of_secret(secret("Opaque", postgresApp=b"\xff\xfe", tls_key=b"k"), NOW) is None


def test_a_tls_secret_without_a_certificate_is_a_failure() -> None:
    found = of_secret(secret(tls_crt=b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"), NOW)
    assert found is not None
    assert found.verdict is Verdict.failed
