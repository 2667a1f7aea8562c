"""Certificates in the stack's Secrets: when do they expire?

Nothing of a Secret is told but a certificate's date. Kubernetes knows no expiry of other Secrets, and no annotation for
one is agreed on, so there is nothing else to look at.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509

from headroom.kubectl import Manifest
from headroom.ops.verify.model import Finding, Scene, Verdict

WARN_DAYS = 30
FAIL_DAYS = 7
_BEGIN = b"-----BEGIN CERTIFICATE-----"


def certificates(scene: Scene) -> Iterator[Finding]:
    """Each Secret of the stack's namespaces that holds certificates, by the one that expires first."""
    now = datetime.now(UTC)
    found = [
        finding
        for namespace in scene.plan.namespaces
        for secret in scene.kubectl.items("secrets", namespace.name)
        if (finding := of_secret(secret, now)) is not None
    ]
    if not found:
        where = ", ".join(n.name for n in scene.plan.namespaces)
        yield Finding(where, "certificates", Verdict.passed, "no Secret holds one")
    yield from found


def of_secret(secret: Manifest, now: datetime) -> Finding | None:
    """What its certificates say; None for a Secret without any."""
    name, namespace = secret["metadata"]["name"], secret["metadata"]["namespace"]
    fix = f"renew it: kubectl describe secret -n {namespace} {name} shows who made it (cert-manager: cmctl renew)"
    ends: list[datetime] = []
    unread: list[str] = []
    for key, text in sorted((secret.get("data") or {}).items()):
        is_certificate = secret.get("type") == "kubernetes.io/tls" and key == "tls.crt"
        if not is_certificate and not key.endswith((".crt", ".pem", ".cer")):
            continue
        try:
            content = base64.b64decode(text, validate=True)
            if is_certificate or _BEGIN in content:
                ends += [c.not_valid_after_utc for c in x509.load_pem_x509_certificates(content)]
        except (binascii.Error, ValueError):
            unread.append(key)
    if unread:
        return Finding(name, "certificates", Verdict.failed, f"{', '.join(unread)} holds no certificate", fix)
    if not ends:
        return None
    days = (min(ends) - now).total_seconds() / 86400
    evidence = f"{min(ends):%Y-%m-%d}: " + (f"expired {-days:.0f} days ago" if days < 0 else f"{days:.0f} days left")
    if days < FAIL_DAYS:
        return Finding(name, "certificates", Verdict.failed, evidence, fix)
    if days < WARN_DAYS:
        return Finding(name, "certificates", Verdict.warned, evidence, fix)
    return Finding(name, "certificates", Verdict.passed, evidence)
