"""A key's bucket is the same in Python and in PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
from hypothesis import given, settings
from hypothesis import strategies as st

from inference.shards import BucketMap, MapFile
from inference.shards.buckets import BUCKET_SQL, BUCKETS, bucket_of, schema_of

# PostgreSQL's text holds anything but NUL; lone surrogates are no text.
KEYS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=60)


def test_known_answers() -> None:
    # sha256("") is e3b0c442…, sha256("abc") is ba7816bf….
    assert bucket_of("") == 0xE3
    assert bucket_of("abc") == 0xBA
    assert schema_of(7) == "b007"
    assert schema_of(255) == "b255"


@settings(max_examples=100, deadline=None)
@given(keys=st.lists(KEYS, max_size=100))
def test_same_in_postgresql(postgres: object, keys: list[str]) -> None:
    with psycopg.connect(postgres.address()) as connection:  # type: ignore[attr-defined]
        rows = connection.execute(
            f"SELECT {BUCKET_SQL % 'key'} FROM unnest(%s::text[]) WITH ORDINALITY AS t(key, n) ORDER BY n",  # noqa: S608
            (keys,),
        ).fetchall()
    assert [row[0] for row in rows] == [bucket_of(key) for key in keys]


def test_entities_spread_over_all_buckets() -> None:
    counts = [0] * BUCKETS
    for number in range(100_000):
        counts[bucket_of(f"entity-{number}")] += 1
    # 390.6 a bucket, standard deviation 19.7: five of them either way.
    assert min(counts) > 292
    assert max(counts) < 489


def test_what_the_shards_tell_counts_more_than_the_file(tmp_path: Path) -> None:
    file = tmp_path / "map.json"
    file.write_text(json.dumps({"version": 9, "shards": 1, "buckets": [0] * 256}))
    known = MapFile(file)
    told = BucketMap.of(3, [1] + [0] * 255)
    known.learn(told)
    assert known.current() == known.refresh() == told and told.shards == 2
    known.learn(BucketMap.of(2, [0] * 256))
    assert known.current() == told, "an older map is no news"
    file.write_text(json.dumps({"version": 10, "shards": 1, "buckets": [0] * 256}))
    known.LOOK_EVERY_S = 0
    assert known.current() == told
