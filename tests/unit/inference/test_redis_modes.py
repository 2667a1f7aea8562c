"""One address setting, three kinds of Redis, each a real one."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from bench.ports import free_port
from inference.cache.redis_store import RedisStore
from inference.errors import StartError
from inference.redis_client import connect, parse
from inference.settings import Settings


def store(**settings: Any) -> RedisStore:
    chosen = Settings.model_validate({"redis_timeout_ms": 3000, **settings})
    return RedisStore(connect(chosen), timeout_s=3, connections=4, on_error=lambda: None)


async def keeps(tried: RedisStore) -> None:
    """It stores, finds, and locks, many keys at once."""
    values = {f"key-{number}": f"value-{number}".encode() for number in range(100)}
    await tried.set_many(values, 60_000)
    assert await tried.get_many([*values, "other"], 5) == values
    assert await asyncio.gather(*(tried.get(key, 5) for key in values)) == list(values.values())
    assert await tried.get("other", 5) is None
    assert await tried.lock("key-1", 60_000) is True
    assert await tried.lock("key-1", 60_000) is False
    await tried.unlock("key-1")
    assert await tried.lock("key-1", 60_000) is True
    await tried.unlock("key-1")


def test_addresses() -> None:
    plain = parse("redis://app:p%40ss@cache:6380/2")
    assert (plain.mode, plain.tls, plain.nodes, plain.database) == ("", False, (("cache", 6380),), 2)
    assert (plain.username, plain.password) == ("app", "p@ss")
    sentinel = parse("rediss+sentinel://:secret@h1,h2:26380,h3/main/1")
    assert (sentinel.mode, sentinel.tls, sentinel.master, sentinel.database) == ("sentinel", True, "main", 1)
    assert sentinel.nodes == (("h1", 26379), ("h2", 26380), ("h3", 26379))
    cluster = parse("redis+cluster://h1,[::1]:7000")
    assert cluster.nodes == (("h1", 6379), ("::1", 7000))
    assert "secret" not in repr(sentinel)


@pytest.mark.parametrize("url", ["redis://h1,h2/0", "redis://h1:port", "redis+sentinel://h1", "redis+other://h1"])
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(StartError) as caught:
        parse(url)
    assert caught.value.exit_code == 2


async def test_plain_with_a_password_from_its_own_setting(redis_servers: Callable[..., Any]) -> None:
    server = redis_servers(config="user app on >secret ~headroom:* +@all -@dangerous\nuser default off\n")
    tried = store(redis_url=f"redis://127.0.0.1:{server.port}", redis_username="app", redis_password="secret")
    await keeps(tried)
    await tried.close()


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A self-signed certificate of 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "redis")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = tmp_path / "server.crt", tmp_path / "server.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private = serialization.PrivateFormat.TraditionalOpenSSL
    pem = key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())
    files[1].write_bytes(pem)
    return files


async def test_tls_with_the_authority_that_is_named_and_with_no_other(
    redis_servers: Callable[..., Any], certificate: tuple[Path, Path]
) -> None:
    crt, key = certificate
    port = free_port()
    redis_servers("--tls-port", str(port), "--tls-cert-file", str(crt), "--tls-key-file", str(key),
                  "--tls-ca-cert-file", str(crt), "--tls-auth-clients", "no")  # fmt: skip
    url = f"rediss://127.0.0.1:{port}"
    trusting = store(redis_url=url, redis_ca_file=crt)
    await keeps(trusting)
    await trusting.close()
    wary = store(redis_url=url)  # knows the public authorities only
    await wary.set_many({"key": b"value"}, 60_000)
    assert await wary.get("key", 5) is None
    await wary.close()
    plain = store(redis_url=f"redis://127.0.0.1:{port}")
    await plain.set_many({"key": b"value"}, 60_000)
    assert await plain.get("key", 5) is None
    await plain.close()


async def test_sentinel_follows_a_new_master(redis_servers: Callable[..., Any]) -> None:
    master = redis_servers("--repl-diskless-sync-delay", "0")
    replica = redis_servers("--replicaof", "127.0.0.1", str(master.port))
    watch = redis_servers(
        "--sentinel",
        config=f"sentinel monitor main 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds main 1000\n"
        "sentinel failover-timeout main 5000\n",
    )
    tried = store(redis_url=f"redis+sentinel://127.0.0.1:{watch.port}/main")
    await keeps(tried)
    # A sentinel that a busy machine left without its turn does nothing for 30 s (its TILT mode).
    async with asyncio.timeout(120):
        # The sentinel finds the replica in the master's own words, which takes it some seconds.
        while str(replica.port) not in cli(watch.port, "sentinel", "replicas", "main"):  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        while int(cli(replica.port, "dbsize")) < 100:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        master.process.kill()
        master.process.wait()
        while await tried.get("key-2", 5) != b"value-2":  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        while await tried.get("new", 5) is None:
            await tried.set_many({"new": b"written after"}, 60_000)
            await asyncio.sleep(0.1)
    await tried.close()


async def test_a_sentinel_that_hangs_is_asked_once_and_then_the_next(redis_servers: Callable[..., Any]) -> None:
    """Connections to it are taken and nothing answers: the library by itself would try it again and again."""
    master = redis_servers()
    watch = redis_servers("--sentinel", config=f"sentinel monitor main 127.0.0.1 {master.port} 1\n")
    taken = 0

    def take(_reader: object, _writer: object) -> None:
        nonlocal taken
        taken += 1

    hanging = await asyncio.start_server(take, "127.0.0.1", 0)
    url = f"redis+sentinel://127.0.0.1:{hanging.sockets[0].getsockname()[1]},127.0.0.1:{watch.port}/main"
    tried = connect(Settings.model_validate({"redis_url": url, "redis_timeout_ms": 250}))
    async with asyncio.timeout(60):
        assert await tried.set("key", "value")
    assert taken == 1
    await tried.aclose()
    hanging.close()


async def test_cluster(redis_servers: Callable[..., Any]) -> None:
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
    ports = [redis_servers(*options).port for _ in range(3)]
    nodes = [f"127.0.0.1:{port}" for port in ports]
    command = ["redis-cli", "--cluster", "create", *nodes, "--cluster-yes"]
    await asyncio.to_thread(subprocess.run, command, check=True, capture_output=True, timeout=60)
    async with asyncio.timeout(60):
        while not all("cluster_state:ok" in cli(port, "cluster", "info") for port in ports):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    tried = store(redis_url=f"redis+cluster://{','.join(nodes[:2])}")
    await keeps(tried)
    counts = [int(cli(port, "dbsize")) for port in ports]
    assert min(counts) > 10
    assert sum(counts) == 100
    await tried.close()


def cli(port: int, *words: str) -> str:
    return subprocess.run(
        ["redis-cli", "-p", str(port), *words], check=True, capture_output=True, text=True, timeout=30
    ).stdout
