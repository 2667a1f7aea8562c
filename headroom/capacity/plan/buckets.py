"""Which shard holds which of the 256 buckets of keys.

A key's bucket is the first byte of SHA-256 of the key in UTF-8. A new store's map follows from its number of shards
alone; a store that has data goes from the map that it has. The postgres image has this file, too: it needs nothing but
Python.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
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
    _possible(shards)
    return (0,) * BUCKETS if shards == 1 else reassigned(owners(shards - 1), shards)


def reassigned(held: Sequence[int], shards: int) -> tuple[int, ...]:
    """The map of `shards` shards that moves the fewest buckets of the map `held`, which may have any number of them.

    Shares differ by one bucket at most; a map that is even already stays as it is. The fullest shards get the larger
    shares, shards that go (numbers from `shards` on) give all, and the others give what they hold beyond their share.

    Raises ValueError for a number of shards that is not 1 to 256, or a map of other than 256 buckets.
    """
    _possible(shards)
    if len(held) != BUCKETS:
        raise ValueError(f"a map of {len(held)} buckets: there are {BUCKETS}")
    counts = Counter(held)
    least, larger = divmod(BUCKETS, shards)
    fullest = sorted(range(shards), key=lambda shard: (-counts[shard], shard))
    room = {shard: least + (place < larger) for place, shard in enumerate(fullest)}
    made, free = list(held), []
    for bucket, shard in enumerate(held):
        # From the front, so that a shard keeps the buckets that it has had longest.
        if room.get(shard, 0) > 0:
            room[shard] -= 1
        else:
            free.append(bucket)
    for bucket in free:
        made[bucket] = max(room, key=lambda shard: (room[shard], -shard))
        room[made[bucket]] -= 1
    return tuple(made)


def _possible(shards: int) -> None:
    if not 1 <= shards <= BUCKETS:
        raise ValueError(f"{shards} shards: there are {BUCKETS} buckets, one a shard at least")
