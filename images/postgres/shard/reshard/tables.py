"""What the databases keep of moves, in the schema `headroom` of every shard. Safe to run again.

Shard 0 has the authority: its map is the map, its journal says where every bucket stands. The other shards' maps are
copies for clients that were refused there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

LEAD = 0
"""The shard that keeps the journal and the map; the one that every number of shards has."""

_MAP = """
CREATE TABLE IF NOT EXISTS headroom.map (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    version bigint NOT NULL,
    owners integer[] NOT NULL CHECK (cardinality(owners) = 256)
);
CREATE TABLE IF NOT EXISTS headroom.lease (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    holder text NOT NULL,
    since timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS headroom.marker (token text PRIMARY KEY);
CREATE TABLE IF NOT EXISTS headroom.move (
    bucket integer PRIMARY KEY CHECK (bucket BETWEEN 0 AND 255),
    source integer NOT NULL,
    target integer NOT NULL,
    step text NOT NULL,
    token text NOT NULL DEFAULT '',
    attempt integer NOT NULL DEFAULT 0,
    source_timeline text NOT NULL DEFAULT '',
    target_timeline text NOT NULL DEFAULT '',
    fingerprint text NOT NULL DEFAULT '',
    grants text NOT NULL DEFAULT '[]',
    bytes bigint NOT NULL DEFAULT 0,
    copied bigint NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    pause_ms double precision,
    verified boolean,
    said text NOT NULL DEFAULT '',
    started timestamptz,
    changed timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE IF NOT EXISTS headroom.wish (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    paused boolean NOT NULL DEFAULT false,
    aborted boolean NOT NULL DEFAULT false
);
INSERT INTO headroom.wish (one) VALUES (true) ON CONFLICT DO NOTHING;
"""
_CLIENTS = "GRANT USAGE ON SCHEMA headroom TO features; GRANT SELECT ON headroom.map TO features;"


def ensure(connection: psycopg.Connection[Any]) -> None:
    """Make what is missing. The schema `headroom` and the role `features` exist."""
    connection.execute(_MAP)
    connection.execute(_CLIENTS)


def copy_map(connection: psycopg.Connection[Any], version: int, owners: Iterable[int]) -> None:
    """Have a shard's copy of the map be at least that new."""
    connection.execute(
        "INSERT INTO headroom.map (version, owners) VALUES (%s, %s) ON CONFLICT (one) "
        "DO UPDATE SET version = excluded.version, owners = excluded.owners "
        "WHERE headroom.map.version < excluded.version",
        (version, list(owners)),
    )
