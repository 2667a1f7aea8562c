"""What PgBouncer may ask a shard of its users: the verifier of the services' login, and of nobody else."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from shard import buckets

LOOKUP = "SELECT usename FROM headroom.pooler_lookup(%s)"


def test_the_pooler_is_told_of_the_services_login_alone(fleet: Any) -> None:
    with fleet.connect(0) as superuser:
        buckets.ensure_common(superuser, 0)
    with fleet.connect(0, "pooler") as pooler:
        for role in ("postgres", "pooler", "replicator", "nobody", "", "FEATURES", None):
            assert pooler.execute(LOOKUP, (role,)).fetchall() == [], role
        assert pooler.execute(LOOKUP, ("features",)).fetchall() == [("features",)]
    with fleet.connect(0, "features") as service, pytest.raises(psycopg.errors.InsufficientPrivilege):
        service.execute(LOOKUP, ("features",))
