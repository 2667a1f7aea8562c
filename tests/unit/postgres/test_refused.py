"""What a stack file may not ask of PostgreSQL and PgBouncer: refused in the plan, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.capacity import demand, plan
from headroom.errors import InputError

STORE = {"demand": {"dataset": "1TB", "writesPerSecond": 1000}, "shard": {"capacity": "2TB", "memory": "8Gi"}}


def made(postgres: dict[str, Any], pgbouncer: dict[str, Any] | None = None) -> plan.Plan:
    config: dict[str, Any] = {"environment": "dev", "postgres": {**STORE, **postgres}}
    return plan.make(demand.from_config("test", config | ({"pgbouncer": pgbouncer} if pgbouncer else {})))


@pytest.mark.parametrize(
    ("postgres", "pgbouncer", "words"),
    [
        ({"replicationFactor": 0}, None, ["replicationFactor", "0", "2 is one primary and one replica"]),
        ({"replicationFactor": -1}, None, ["replicationFactor"]),
        ({"sharedBuffers": "1GB"}, None, ["sharedBuffers"]),
        (
            {"override": {"shared_bufers": {"value": "1Gi", "because": "x"}}},
            None,
            ["shared_bufers", "did you mean 'shared_buffers'"],
        ),
        ({"override": {"volumeSize": {"value": "1Gi", "because": "x"}}}, None, ["volumeSize", "or more"]),
        (
            {},
            {"override": {"default_pool_size": {"value": 90, "because": "x"}}},
            ["over max_connections 100", "default_pool_size"],
        ),
        ({"maxConnections": 15}, None, ["maxConnections is 15", "smallest pools"]),
        ({"apiServers": ["10.0.0.1/8"]}, None, ["apiServers", "has host bits set", "10.0.0.0/28"]),
        ({"apiServers": ["kubernetes.default"]}, None, ["apiServers", "is not a network"]),
        ({"override": {"shards": {"value": 300, "because": "x"}}}, None, ["shards", "256"]),
    ],
)
def test_is_refused(postgres: dict[str, Any], pgbouncer: dict[str, Any] | None, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        made(postgres, pgbouncer)
    said = f"{caught.value} {caught.value.fix}"
    assert [word for word in words if word not in said] == []


def test_one_copy_is_allowed_and_said_to_be_one() -> None:
    alone = made({"replicationFactor": 1})
    assert alone.postgres is not None and alone.postgres.min_available is None
    assert any("no failover is possible" in w.message for w in alone.warnings)
