"""The map of buckets: even shares, and growth that moves no more than it must."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.postgres.settings import bucket_map
from headroom.capacity.plan.buckets import BUCKETS, owners
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
