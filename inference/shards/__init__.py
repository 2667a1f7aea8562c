"""Sharded PostgreSQL behind PgBouncer: a key finds its shard, a caller's deadline outlives a failover, and a write that
may have been applied is never sent again unless that does no harm.

    shards = Shards(address, buckets=MapFile(path), connections=4)
    async with shards:
        rows = await shards.read([key], "SELECT … FROM {schema}.features WHERE entity_id = ANY(%s)", deadline)
        await shards.write(key, "INSERT INTO {schema}.features …", (…,), deadline, idempotent=False)
"""

from inference.shards.bucket_map import BucketMap, FixedMap, KnownMap, MapFile, MapInvalid
from inference.shards.buckets import BUCKETS, bucket_of, schema_of
from inference.shards.client import Shards, Written
from inference.shards.errors import BucketMoved, OutcomeUnknown, ShardError, ShardUnavailable

__all__ = [
    "BUCKETS",
    "BucketMap",
    "BucketMoved",
    "FixedMap",
    "KnownMap",
    "MapFile",
    "MapInvalid",
    "OutcomeUnknown",
    "ShardError",
    "ShardUnavailable",
    "Shards",
    "Written",
    "bucket_of",
    "schema_of",
]
