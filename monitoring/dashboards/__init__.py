"""The dashboards, as the files that `make dashboards` writes from `monitoring/panels`. One fits every stack."""

from __future__ import annotations

from pathlib import Path

from headroom.capacity.plan.model import Plan

FOLDER = Path(__file__).parent


def of(plan: Plan) -> list[str]:
    """The dashboards of what a stack has."""
    parts = {
        "services": bool(plan.services),
        "postgres": plan.postgres is not None,
        "pgbouncer": plan.pgbouncer is not None,
        "redis": plan.redis is not None,
        "h2o": plan.h2o is not None,
    }
    return [name for name, there in parts.items() if there]


def text(name: str) -> str:
    """The JSON of a dashboard."""
    return (FOLDER / f"{name}.json").read_text()
