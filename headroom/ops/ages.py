"""How long ago something was, by the times of the Kubernetes API."""

from __future__ import annotations

from datetime import datetime


def age(at: datetime, text: str | None) -> float:
    """Seconds from a time as the API writes it (`2026-11-22T09:11:00Z`) to `at`; infinite where there is none."""
    return (at - datetime.fromisoformat(text)).total_seconds() if text else float("inf")
