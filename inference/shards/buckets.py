"""The hash that places a key, the same in Python and in PostgreSQL."""

from __future__ import annotations

from hashlib import sha256

# Fixed for the life of the data: a map gives each bucket a shard, so the number of shards can change and this cannot.
BUCKETS = 256
# The same in SQL, for a text expression in the place of %s.
BUCKET_SQL = "get_byte(sha256(convert_to(%s, 'UTF8')), 0)"


def bucket_of(key: str) -> int:
    """The bucket of a key, 0 to 255: the first byte of SHA-256 of the key in UTF-8.

    Raises UnicodeEncodeError for a key that UTF-8 cannot hold (a lone surrogate).
    """
    return sha256(key.encode()).digest()[0]


def schema_of(bucket: int) -> str:
    """The schema that holds a bucket: `b000` to `b255`."""
    return f"b{bucket:03d}"
