"""The cache that refreshes before entries expire, over memory and over a real Redis."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import pytest
from redis.asyncio import Redis

from inference.cache.early_expiry import CacheRules, EarlyExpiryCache, refresh_probability
from inference.cache.redis_store import RedisStore
from inference.cache.stores import MemoryStore, Store
from inference.deadline import Deadline
from inference.errors import FeaturesUnavailable, Overloaded

RULES = CacheRules(ttl_s=300, early_fraction=0.1, load_timeout_s=5, loads_limit=1000)
MakeStore = Callable[[], Store]


class Loader:
    """Counts loads; each value tells which load made it. They end while `go` is set."""

    def __init__(self, seconds: float = 0.05) -> None:
        self.seconds = seconds
        self.keys: list[str] = []
        self.fail = False
        self.unknown: set[str] = set()
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, keys: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        self.keys += keys
        await asyncio.sleep(self.seconds)
        await self.go.wait()
        if self.fail:
            raise FeaturesUnavailable("down")
        return {key: f"load-{len(self.keys)}".encode() for key in keys if key not in self.unknown}


@pytest.fixture(params=["memory", "redis"])
async def make_store(request: pytest.FixtureRequest) -> AsyncIterator[MakeStore]:
    """Makes stores that share their content, as the processes of a service do."""
    if request.param == "memory":
        shared = MemoryStore(1000)
        yield lambda: shared
        return
    port = request.getfixturevalue("redis_server").port
    made: list[RedisStore] = []

    def make() -> Store:
        made.append(RedisStore(Redis(port=port), timeout_s=5, connections=8, on_error=lambda: None))
        return made[-1]

    yield make
    for store in made:
        await store.close()


def key() -> str:
    return uuid.uuid4().hex


async def settle(cache: EarlyExpiryCache) -> None:
    """Let the refreshes in the background end."""
    await asyncio.gather(*cache._refreshes.values())
    await asyncio.sleep(0)


async def readers(caches: Sequence[EarlyExpiryCache], name: str, number: int) -> set[bytes | None]:
    gets = (caches[n % len(caches)].get(name, Deadline.after(30)) for n in range(number))
    return set(await asyncio.gather(*gets))


@pytest.mark.parametrize("processes", [1, 10])
async def test_a_thousand_readers_of_an_expiring_key_cause_one_load(make_store: MakeStore, processes: int) -> None:
    load, now, name = Loader(), [time.time()], key()
    caches = [EarlyExpiryCache(make_store(), load, RULES, clock=lambda: now[0]) for _ in range(processes)]
    assert await readers(caches, name, 1) == {b"load-1"}
    now[0] += 299.9  # the ramp is at 0.997
    # All of them see the old value, and one of them brings the new one.
    load.go.clear()
    assert await readers(caches, name, 1000) == {b"load-1"}
    load.go.set()
    for cache in caches:
        await settle(cache)
    assert load.keys == [name] * 2
    assert await readers(caches, name, 1000) == {b"load-2"}
    assert load.keys == [name] * 2


@pytest.mark.parametrize("processes", [1, 10])
async def test_a_thousand_readers_of_a_missing_key_cause_one_load(make_store: MakeStore, processes: int) -> None:
    load, name = Loader(0.2), key()
    caches = [EarlyExpiryCache(make_store(), load, RULES) for _ in range(processes)]
    assert await readers(caches, name, 1000) == {b"load-1"}
    assert load.keys == [name]


def test_the_ramp() -> None:
    assert refresh_probability(300, 300, 0.1) == 0
    assert refresh_probability(30, 300, 0.1) == 0
    assert refresh_probability(15, 300, 0.1) == 0.5
    assert refresh_probability(3, 300, 0.1) == pytest.approx(0.9)
    assert refresh_probability(0, 300, 0.1) == 1
    assert refresh_probability(-1, 300, 0.1) == 1
    assert refresh_probability(1, 300, 0) == 0


@pytest.mark.parametrize("remaining", [31.0, 29.0, 22.5, 15.0, 7.5, 0.3])
async def test_readers_refresh_as_often_as_the_ramp_says(remaining: float) -> None:
    draws = 10_000
    now, told, name = [1000.0], [], key()
    store = MemoryStore(10)
    seed = random.Random(7)  # noqa: S311
    cache = EarlyExpiryCache(store, Loader(0), RULES, count=told.append, chance=seed.random, clock=lambda: now[0])
    await cache.get(name, Deadline.after(5))
    told.clear()
    now[0] += 300 - remaining
    cache._refresh = lambda _: asyncio.sleep(0)  # type: ignore[method-assign,assignment]
    for _ in range(draws):
        await cache.get(name, Deadline.after(5))
        await settle(cache)
    expected = max(0.0, 1 - remaining / 30)
    # Five standard deviations of a binomial share.
    allowed = 5 * (expected * (1 - expected) / draws) ** 0.5
    assert told.count("refresh") / draws == pytest.approx(expected, abs=allowed + 1e-12)


async def test_a_failed_refresh_keeps_the_old_value_and_waits(make_store: MakeStore) -> None:
    load, now, name = Loader(0), [time.time()], key()
    cache = EarlyExpiryCache(make_store(), load, RULES, clock=lambda: now[0])
    await cache.get(name, Deadline.after(5))
    now[0] += 299.99
    load.fail = True
    for _ in range(50):
        assert await cache.get(name, Deadline.after(5)) == b"load-1"
        await settle(cache)
    assert len(load.keys) == 2  # one try, then its lock keeps the next away


async def test_a_failed_load_reaches_all_who_wait_and_the_next_may_try(make_store: MakeStore) -> None:
    load, name = Loader(), key()
    load.fail = True
    cache = EarlyExpiryCache(make_store(), load, RULES)
    answers = await asyncio.gather(*(cache.get(name, Deadline.after(5)) for _ in range(100)), return_exceptions=True)
    assert {type(answer) for answer in answers} == {FeaturesUnavailable}
    assert len(load.keys) == 1
    load.fail = False
    assert await cache.get(name, Deadline.after(5)) == b"load-2"


async def test_unknown_keys_are_not_kept(make_store: MakeStore) -> None:
    load, name = Loader(0), key()
    load.unknown.add(name)
    cache = EarlyExpiryCache(make_store(), load, RULES)
    assert await cache.get(name, Deadline.after(5)) is None
    load.unknown.clear()
    assert await cache.get(name, Deadline.after(5)) == b"load-2"


async def test_many_keys_at_once(make_store: MakeStore) -> None:
    load, names = Loader(), [key() for _ in range(20)]
    load.unknown.add(names[0])
    cache, other = EarlyExpiryCache(make_store(), load, RULES), EarlyExpiryCache(make_store(), load, RULES)
    await cache.get(names[1], Deadline.after(5))
    load.keys.clear()
    both = await asyncio.gather(cache.get_many(names, Deadline.after(5)), other.get_many(names, Deadline.after(5)))
    assert [set(found) for found in both] == [set(names[1:])] * 2
    assert sorted(set(load.keys)) == sorted({*names} - {names[1]})
    assert len([name for name in load.keys if name != names[0]]) == 18  # each once, though two asked


async def test_a_caller_that_gives_up_leaves_the_load_to_the_others(make_store: MakeStore) -> None:
    load, name = Loader(0.3), key()
    cache = EarlyExpiryCache(make_store(), load, RULES)
    hasty = asyncio.create_task(cache.get(name, Deadline.after(30)))
    patient = asyncio.create_task(cache.get(name, Deadline.after(30)))
    await asyncio.sleep(0.1)
    hasty.cancel()
    assert await patient == b"load-1"
    assert load.keys == [name]


async def test_loads_are_bounded() -> None:
    load = Loader(0.2)
    cache = EarlyExpiryCache(MemoryStore(10), load, CacheRules(300, 0.1, 5, loads_limit=3))
    answers = await asyncio.gather(*(cache.get(key(), Deadline.after(5)) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(answer, Overloaded) for answer in answers) == 7
    assert len(load.keys) == 3


async def test_bytes_of_another_format_are_loaded_anew(make_store: MakeStore) -> None:
    load, name, store = Loader(0), key(), make_store()
    await store.set_many({name: b"something else entirely"}, 10_000)
    assert await EarlyExpiryCache(store, load, RULES).get(name, Deadline.after(5)) == b"load-1"


async def test_memory_is_bounded() -> None:
    store = MemoryStore(100)
    for number in range(1000):
        await store.set_many({str(number): b"x"}, 10_000)
        await store.lock(str(number), 0)
    assert len(await store.get_many([str(number) for number in range(1000)], 1)) == 100
    assert len(store._locks) <= 102


async def test_a_dead_redis_is_done_without(redis_servers: Any) -> None:
    server, errors, load = redis_servers(), [], Loader(0)
    store = RedisStore(Redis(port=server.port), timeout_s=0.2, connections=4, on_error=lambda: errors.append(1))
    cache = EarlyExpiryCache(store, load, RULES)
    name = key()
    await cache.get(name, Deadline.after(5))
    server.process.kill()
    server.process.wait()
    for _ in range(20):
        assert await cache.get(name, Deadline.after(5)) is not None
    assert len(load.keys) == 21  # no cache: every read loads
    assert len(errors) <= 2  # but Redis is not asked each time
    await store.close()


async def test_reads_share_round_trips(redis_server: Any) -> None:
    client = Redis(port=redis_server.port)
    store = RedisStore(client, timeout_s=5, connections=2, on_error=lambda: None)
    names = [key() for _ in range(500)]
    await store.set_many({name: name.encode() for name in names}, 60_000)
    before = (await client.info("commandstats")).get("cmdstat_mget", {}).get("calls", 0)
    assert await asyncio.gather(*(store.get(name, 5) for name in names)) == [name.encode() for name in names]
    after = (await client.info("commandstats"))["cmdstat_mget"]["calls"]
    assert after - before < 10
    await store.close()
