"""The map of buckets: even shares, and growth that moves no more than it must."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.postgres.settings import bucket_map
from headroom.capacity.plan.buckets import BUCKETS, owners, reassigned
from inference.shards import BucketMap


@settings(deadline=None)
@given(st.integers(1, BUCKETS))
def test_shares_are_even(shards: int) -> None:
    counts = Counter(owners(shards))
    assert set(counts) == set(range(shards))
    assert max(counts.values()) - min(counts.values()) <= 1


@settings(deadline=None)
@given(st.integers(1, BUCKETS - 1))
def test_one_shard_more_moves_its_own_share_and_nothing_between_the_others(shards: int) -> None:
    before, after = owners(shards), owners(shards + 1)
    moved = [bucket for bucket in range(BUCKETS) if before[bucket] != after[bucket]]
    assert {after[bucket] for bucket in moved} == {shards}
    assert len(moved) == BUCKETS // (shards + 1)


MAPS = st.lists(st.integers(0, 20), min_size=BUCKETS, max_size=BUCKETS)


@settings(deadline=None)
@given(MAPS, st.integers(1, 24))
def test_any_map_becomes_even_with_the_fewest_moves(held: list[int], shards: int) -> None:
    made = reassigned(held, shards)
    counts = Counter(made)
    assert set(counts) == set(range(shards))
    assert max(counts.values()) - min(counts.values()) <= 1
    # No map with such shares keeps more: the larger ones go to those that hold the most.
    least, larger = divmod(BUCKETS, shards)
    most = sorted((held.count(shard) for shard in range(shards)), reverse=True)
    kept = sum(min(count, least + (place < larger)) for place, count in enumerate(most))
    assert sum(a == b for a, b in zip(held, made, strict=True)) == kept


@settings(deadline=None)
@given(MAPS, st.integers(1, 24))
def test_an_even_map_stays(held: list[int], shards: int) -> None:
    made = reassigned(held, shards)
    assert reassigned(made, shards) == made


@settings(deadline=None)
@given(MAPS, st.integers(1, 24), st.integers(1, 24))
def test_nothing_moves_but_from_the_fuller_to_the_emptier(held: list[int], before: int, after: int) -> None:
    old = reassigned(held, before)
    new = reassigned(old, after)
    gave = {a for a, b in zip(old, new, strict=True) if a != b}
    took = {b for a, b in zip(old, new, strict=True) if a != b}
    assert not gave & took
    if after >= before:
        assert took <= set(range(before, after))
    else:
        assert gave == set(range(after, before))


def test_known_answers() -> None:
    assert owners(1) == (0,) * 256
    assert Counter(owners(4)) == {0: 64, 1: 64, 2: 64, 3: 64}
    assert sum(a != b for a, b in zip(owners(4), owners(5), strict=True)) == 51


@pytest.mark.parametrize("shards", [0, -1, 257])
def test_impossible_numbers(shards: int) -> None:
    with pytest.raises(ValueError, match="256 buckets"):
        owners(shards)


@pytest.mark.parametrize("shards", [1, 4, 256])
def test_clients_read_the_map(shards: int) -> None:
    found = BucketMap.parse(bucket_map(shards))
    assert (found.shards, found.owners) == (shards, owners(shards))


def test_a_larger_stack_has_a_newer_map() -> None:
    versions = [BucketMap.parse(bucket_map(n)).version for n in range(1, 20)]
    assert versions == sorted(set(versions))
