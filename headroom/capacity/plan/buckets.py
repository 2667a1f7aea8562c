"""Which shard holds which of the 256 buckets of keys.

A key's bucket is the first byte of SHA-256 of the key in UTF-8. The map follows from the number of shards alone.
"""

from __future__ import annotations

from functools import lru_cache

BUCKETS = 256
"""Fixed for the life of the data."""


@lru_cache(maxsize=256)
def owners(shards: int) -> tuple[int, ...]:
    """`owners(n)[bucket]` is a shard below `n`; shares differ by one bucket at most.

    One shard more takes its share from the fullest shards and moves nothing between the others, so growth moves the
    fewest buckets that it can: 64 each at 4 shards, and 51 of 256 move at the fifth.

    Raises ValueError for a number of shards that is not 1 to 256.
    """
    if not 1 <= shards <= BUCKETS:
        raise ValueError(f"{shards} shards: there are {BUCKETS} buckets, one a shard at least")
    if shards == 1:
        return (0,) * BUCKETS
    held = list(owners(shards - 1))
    for _ in range(BUCKETS // shards):
        counts = [held.count(shard) for shard in range(shards - 1)]
        fullest = counts.index(max(counts))
        # From the end, so that a shard keeps the buckets that it has had longest.
        last = max(bucket for bucket, owner in enumerate(held) if owner == fullest)
        held[last] = shards - 1
    return tuple(held)
