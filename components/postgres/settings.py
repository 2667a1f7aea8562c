"""What Patroni and PostgreSQL of every shard are told: the plan's sizes, and what failover without loss asks for."""

from __future__ import annotations

import json
from typing import Any

from headroom.capacity.plan.buckets import owners
from headroom.capacity.plan.model import PostgresPlan
from headroom.capacity.quantities import postgres_memory

TTL_S = 20
LOOP_WAIT_S = 5
RETRY_TIMEOUT_S = 5
"""The least that Patroni takes with the rule `loop_wait + 2 × retry_timeout <= ttl` kept."""
PORT = 5432
POOLER_PORT = 6432
REST_PORT = 8008
DATABASE = "features"


def dynamic(plan: PostgresPlan) -> dict[str, Any]:
    """Patroni's dynamic configuration of a shard. Values are as PostgreSQL itself writes them."""
    return {
        "ttl": TTL_S,
        "loop_wait": LOOP_WAIT_S,
        "retry_timeout": RETRY_TIMEOUT_S,
        # A commit is acknowledged once the standby has it, and only such a standby is promoted: nothing is lost.
        "synchronous_mode": True,
        # Cut off from the API server alone, a primary goes on as long as it reaches every other member.
        "failsafe_mode": True,
        # A crashed primary is not recovered while a standby waits.
        "primary_start_timeout": 0,
        "primary_stop_timeout": 10,
        # Slots of buckets that move: Patroni drops those that it does not know.
        "ignore_slots": [{"type": "logical", "database": DATABASE, "plugin": "pgoutput"}],
        "postgresql": {"use_pg_rewind": True, "use_slots": True, "parameters": parameters(plan)},
    }


def parameters(plan: PostgresPlan) -> dict[str, str]:
    """PostgreSQL's settings, by name."""
    sized = {name: postgres_memory(str(size.value)) for name, size in plan.parameters.items()}
    return {
        **sized,
        "max_connections": str(plan.max_connections.value),
        "wal_level": "logical",
        "hot_standby": "on",
        "password_encryption": "scram-sha-256",
        # A peer that froze or was cut off: its kernel may still be there, so PostgreSQL asks for signs of life itself.
        "wal_sender_timeout": "5s",
        "wal_receiver_timeout": "5s",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "2",
        "tcp_user_timeout": "5000",  # PostgreSQL shows this one without its unit
        "idle_in_transaction_session_timeout": "1min",
        # Subscriptions start at most once in this time, and each bucket that moves has one.
        "wal_retrieve_retry_interval": "500ms",
    }


def bucket_map(shards: int) -> str:
    """The map that clients begin with: that of a new store. What moved since, the shards tell."""
    held = list(owners(shards))
    return json.dumps({"version": shards, "shards": shards, "buckets": held}, separators=(",", ":"))
