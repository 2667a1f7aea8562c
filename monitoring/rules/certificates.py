"""Certificates that cert-manager keeps in the stack's namespaces. The platform's own live as long as their pod."""

from __future__ import annotations

from headroom.capacity.plan.model import Plan
from monitoring.model import Alert, Group, series

DAYS = 14


EXPIRES = "certmanager_certificate_expiration_timestamp_seconds"


def group(plan: Plan) -> Group:
    return Group(
        "certificates",
        tuple(
            Alert(
                "CertificateExpires",
                # The exporter's own namespace is `namespace`; that of the certificate is this.
                f"{series(EXPIRES, exported_namespace=room.name)} - time() < {DAYS} * 86400",
                60,
                "critical",
                "the certificate {{ $labels.name }} is not renewed",
                "It expires in {{ $value | humanizeDuration }}.",
                (("namespace", room.name),),
            )
            for room in plan.namespaces
        ),
    )
