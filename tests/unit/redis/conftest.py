"""The program of the Redis image against real servers: each `pod` has an address of its own on loopback."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "images" / "redis"))

from headroom_redis import files, kube, resp, settings  # type: ignore[import-not-found]

PASSWORDS = {
    "redisApp": "app-password-0123456789",
    "redisAdmin": 'admin"password\\01234',
    "redisMonitor": "monitor-01234",
}
_networks = itertools.count(1)


def _addresses() -> str:
    """A prefix of loopback addresses that no other test process uses."""
    pid = os.getpid()
    return f"127.{10 + pid % 240}.{(pid // 240) % 250 + next(_networks) % 5}"


@dataclass(frozen=True)
class Here(settings.Settings):  # type: ignore[misc]
    """Settings whose hosts are loopback addresses."""

    prefix: str = ""

    def host(self, ordinal: int) -> str:
        return f"{self.prefix}.{ordinal + 1}"


@dataclass
class Fleet:
    """Servers by ordinal, and what the Kubernetes API would say of them."""

    base: Here
    folder: Path
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)
    replicas: int | None = None
    record: dict[str, str] = field(default_factory=dict)

    def settings(self, ordinal: int = 0, **changes: Any) -> Here:
        data, run = self.folder / f"data-{ordinal}", self.folder / f"run-{ordinal}"
        data.mkdir(exist_ok=True)
        host = self.base.host(ordinal)
        own = {"pod": f"redis-{ordinal}", "address": host, "data": data, "run": run, **changes}
        return replace(self.base, **own)

    def job(self, masters: int, replicas_per_master: int = 1) -> Here:
        pods = masters * (1 + replicas_per_master)
        return self.settings(0, pods=pods, masters=masters, replicas_per_master=replicas_per_master)

    def start(self, *ordinals: int, master: int | None = None, more: str = "", wait: bool = True) -> None:
        for n in ordinals:
            own = self.settings(n)
            held = {user: [own.password(user)] for user in settings.USERS}
            files.write(own.run / "users.acl", files.server_users(held))
            leads = None if master in (None, n) else own.host(master)
            text = files.server(own, leads) + f"bind {own.address}\nreplica-announce-ip {own.address}\n{more}"
            self.running[n] = launch(files.write(own.run / "redis.conf", text))
        for n in ordinals if wait else ():
            self.await_answer(n)

    def start_sentinels(self, master: int, *ordinals: int) -> None:
        for n in ordinals:
            own = self.settings(n)
            files.write(own.run / "sentinel.acl", files.sentinel_users({"admin": [own.password("admin")]}))
            text = files.sentinel(own, own.host(master), []) + f"bind {own.address}\n"
            self.running[100 + n] = launch(files.write(own.run / "sentinel.conf", text), "--sentinel")
        for n in ordinals:
            self.await_answer(n, resp.SENTINEL_PORT)

    def await_answer(self, ordinal: int, port: int = 6379) -> None:
        until(lambda: self.call(ordinal, "PING", port=port) == "PONG")

    def stop(self, *ordinals: int) -> None:
        for n in ordinals:
            process = self.running.pop(n)
            process.kill()
            process.wait()

    def call(self, ordinal: int, *words: str | int, port: int = 6379) -> Any:
        own = self.settings(ordinal)
        with own.admin(own.address, port) as connection:
            return connection.call(*words)


def launch(config: Path, *options: str) -> subprocess.Popen[bytes]:
    log = config.with_suffix(".log").open("ab")
    return subprocess.Popen(["redis-server", str(config), *options], stdout=log, stderr=log)


def until(look: Callable[[], object], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, resp.ReplyError, KeyError):
            if look():
                return
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.05)


@pytest.fixture
def eventually() -> Callable[..., None]:
    return until


def base(folder: Path, mode: str) -> Here:
    secrets = folder / "secrets"
    secrets.mkdir()
    for name, value in PASSWORDS.items():
        (secrets / name).write_text(f"{value}\n")
    environment = {
        "REDIS_MODE": mode,
        "POD_NAME": "redis-0",
        "POD_NAMESPACE": "here",
        "POD_IP": "",
        "REDIS_PODS": "3",
        "REDIS_SENTINELS": "3" if mode == "sentinel" else "0",
        "REDIS_QUORUM": "2" if mode == "sentinel" else "0",
        "REDIS_MAXMEMORY": str(64 << 20),
        "REDIS_MAXMEMORY_POLICY": "allkeys-lru",
        "REDIS_SECRETS": str(secrets),
    }
    read = settings.read(environment)
    return Here(**{name: getattr(read, name) for name in read.__dataclass_fields__}, prefix=_addresses())


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Fleet]]:
    """A fleet in a mode; its servers end with the test."""
    if not shutil.which("redis-server"):
        pytest.skip("no redis-server on this machine: apt-get install redis-server")
    made: list[Fleet] = []

    def go(mode: str) -> Fleet:
        found = Fleet(base(tmp_path, mode), tmp_path)
        made.append(found)
        monkeypatch.setattr(kube, "replicas", lambda *_: found.replicas)
        monkeypatch.setattr(kube, "read_record", lambda *_: dict(found.record))

        def write(_namespace: str, _name: str, data: dict[str, str | None]) -> None:
            for key, value in data.items():
                found.record.pop(key, None)
                if value is not None:
                    found.record[key] = value

        monkeypatch.setattr(kube, "write_record", write)
        return found

    yield go
    for each in made:
        each.stop(*list(each.running))
