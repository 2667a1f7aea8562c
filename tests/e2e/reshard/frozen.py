"""A client for the tests: its first line is an address and a map, `KEY VALUE` lines after it are written with that map.
Each answer: why it had to try again, and the versions of the map that it had before and after."""

from __future__ import annotations

import asyncio
import json
import sys

from inference.deadline import Deadline
from inference.shards import BucketMap, KnownMap, Shards

READ = "SELECT entity_id, features FROM {schema}.features WHERE entity_id = ANY(%s)"
UPSERT = (
    "INSERT INTO {schema}.features (entity_id, features) VALUES (%s, %s) "
    "ON CONFLICT (entity_id) DO UPDATE SET features = excluded.features"
)


async def main() -> None:
    given = json.loads(sys.stdin.readline())
    why: list[str] = []
    first = KnownMap(BucketMap.of(given["version"], given["owners"]))
    async with Shards(given["address"], buckets=first, on_retry=lambda _, reason: why.append(str(reason))) as shards:
        await shards.read([f"warm-{n}" for n in range(64)], READ, Deadline.after(20))
        print("ready", flush=True)
        for line in sys.stdin:
            key, value = line.split()
            why.clear()
            held = shards.map.version
            await shards.write(key, UPSERT, (key, [float(value)]), Deadline.after(20), idempotent=False)
            print(json.dumps({"why": why, "held": held, "version": shards.map.version}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
