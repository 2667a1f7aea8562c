"""The SQL of a shard's buckets: a schema each, and nothing of the others'. Safe to run again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import psycopg
from psycopg import sql

BUCKETS = 256
LOCK = 0x68656164726F6F6D  # "headroom"

COMMON = """
REVOKE ALL ON SCHEMA public FROM PUBLIC;
CREATE SCHEMA IF NOT EXISTS headroom;
GRANT USAGE ON SCHEMA headroom TO pooler;
CREATE TABLE IF NOT EXISTS headroom.shard (
    one boolean PRIMARY KEY DEFAULT true CHECK (one),
    number integer NOT NULL,
    shards integer NOT NULL
);
ALTER TABLE headroom.shard DROP COLUMN IF EXISTS map_version;
CREATE TABLE IF NOT EXISTS headroom.bucket (
    bucket integer PRIMARY KEY CHECK (bucket BETWEEN 0 AND 255),
    since timestamptz NOT NULL DEFAULT now()
);
CREATE OR REPLACE FUNCTION headroom.bucket_of(key text) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT SET search_path = pg_catalog, pg_temp
    AS $$ SELECT get_byte(sha256(convert_to(key, 'UTF8')), 0) $$;
CREATE OR REPLACE FUNCTION headroom.pooler_lookup(login text, OUT usename name, OUT passwd text) RETURNS SETOF record
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT s.usename, s.passwd FROM pg_catalog.pg_shadow AS s
          WHERE s.usename = login AND s.usename = 'features' $$;
REVOKE ALL ON FUNCTION headroom.pooler_lookup(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION headroom.pooler_lookup(text) TO pooler;
"""

ONE = """
CREATE SCHEMA IF NOT EXISTS {schema};
CREATE TABLE IF NOT EXISTS {schema}.features (
    entity_id text PRIMARY KEY,
    features double precision[] NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT belongs_to_this_bucket CHECK (get_byte(sha256(convert_to(entity_id, 'UTF8')), 0) = {bucket})
);
GRANT USAGE ON SCHEMA {schema} TO features;
GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.features TO features;
INSERT INTO headroom.bucket (bucket) VALUES ({bucket}) ON CONFLICT DO NOTHING;
"""


class Refused(Exception):
    """What the map says cannot be done to this shard, with the reason."""


def schema_of(bucket: int) -> str:
    """`b000` to `b255`."""
    return f"b{bucket:03d}"


def owned_by(shard: int, owners: Sequence[int]) -> list[int]:
    """The buckets of a shard. Raises Refused for a map that is not of 256 buckets."""
    if len(owners) != BUCKETS:
        raise Refused(f"the map has {len(owners)} buckets instead of {BUCKETS}")
    return [bucket for bucket, owner in enumerate(owners) if owner == shard]


def ensure_common(connection: psycopg.Connection[Any], shard: int, shards: int = 1) -> None:
    """What every shard has beside its buckets. One transaction, one at a time.

    Raises Refused for a database that is another shard's.
    """
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        connection.execute(COMMON)
        row = connection.execute("SELECT number FROM headroom.shard").fetchone()
        if row and row[0] != shard:
            raise Refused(f"this is the data of shard {row[0]}, found where shard {shard} is expected")
        connection.execute(
            "INSERT INTO headroom.shard (number, shards) VALUES (%s, %s) "
            "ON CONFLICT (one) DO UPDATE SET shards = excluded.shards "
            "WHERE headroom.shard.shards IS DISTINCT FROM excluded.shards",
            (shard, shards),
        )


def recorded(connection: psycopg.Connection[Any]) -> set[int]:
    """The buckets that the shard says it owns."""
    return {int(bucket) for (bucket,) in connection.execute("SELECT bucket FROM headroom.bucket")}


def ensure(connection: psycopg.Connection[Any], owned: Iterable[int], leave: Iterable[int] = ()) -> int:
    """Have the shard own these buckets; returns how many were made now. Those of `leave` are on their way between
    shards and are not touched.

    Raises Refused where it has recorded another one: its rows would be found by nobody.
    """
    wanted, moving = set(owned), set(leave)
    with connection.transaction():
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
        there = recorded(connection)
        if stray := sorted(there - wanted - moving):
            raise Refused(f"it holds bucket {stray[0]}, which the map gives to another shard")
        missing = sorted(wanted - there - moving)
        for bucket in missing:
            names = {"schema": sql.Identifier(schema_of(bucket)), "bucket": sql.Literal(bucket)}
            connection.execute(sql.SQL(ONE).format(**names))
    return len(missing)
