"""Feature files, and two shards in a real PostgreSQL server on loopback."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from headroom.ops.features import Store
from inference.shards import BucketMap, FixedMap
from inference.shards.buckets import BUCKETS, schema_of

# The servers of the shard client's own tests.
SERVERS = Path(__file__).parents[2] / "inference" / "conftest.py"
spec = importlib.util.spec_from_file_location("inference_servers", SERVERS)
assert spec is not None and spec.loader is not None
servers = importlib.util.module_from_spec(spec)
sys.modules[spec.name] = servers
spec.loader.exec_module(servers)
postgres = servers.postgres
proxy = servers.proxy
OWNERS = tuple(bucket % 2 for bucket in range(BUCKETS))


@pytest.fixture
def csv_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines into a CSV."""

    def write(*lines: str, name: str = "features.csv") -> Path:
        file = tmp_path / name
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return file

    return write


@pytest.fixture(scope="session")
def tables(postgres: Any) -> Any:
    """The buckets' tables on their shards, as the stack makes them."""
    for shard in (0, 1):
        owned = [schema_of(bucket) for bucket in range(BUCKETS) if OWNERS[bucket] == shard]
        made = ";".join(
            f"CREATE SCHEMA {s}; GRANT USAGE ON SCHEMA {s} TO app; CREATE TABLE {s}.features (entity_id text PRIMARY "
            "KEY, features double precision[] NOT NULL, updated_at timestamptz NOT NULL DEFAULT now()); "
            f"GRANT SELECT, INSERT, UPDATE, DELETE ON {s}.features TO app"
            for s in owned
        )
        postgres.run(made, database=f"features_{shard}")
    return postgres


@pytest.fixture
def shards(tables: Any) -> Iterator[Any]:
    """Two empty shards: `.store(port)` to load into, `.stored()` what they hold."""

    class Two:
        server = tables

        def store(self, port: int | None = None) -> Store:
            return Store(tables.address("features", port=port), FixedMap(BucketMap(1, 2, OWNERS)), "tests")

        def each(self, text: str) -> list[list[tuple[Any, ...]]]:
            """A statement a shard, `{}` being all of its tables united."""
            found = []
            for shard in (0, 1):
                owned = [schema_of(bucket) for bucket in range(BUCKETS) if OWNERS[bucket] == shard]
                every = " UNION ALL ".join(
                    f"SELECT {int(s[1:])} AS bucket, * FROM {s}.features"  # noqa: S608
                    for s in owned
                )
                found.append(tables.run(text.format(f"({every}) AS every"), database=f"features_{shard}"))
            return found

        def stored(self) -> dict[str, list[float]]:
            return {key: row for rows in self.each("SELECT entity_id, features FROM {}") for key, row in rows}

    yield Two()
    for shard in (0, 1):
        owned = [schema_of(bucket) for bucket in range(BUCKETS) if OWNERS[bucket] == shard]
        tables.run("TRUNCATE " + ", ".join(f"{s}.features" for s in owned), database=f"features_{shard}")
