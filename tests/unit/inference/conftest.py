"""Real servers on loopback, each on a free port with a folder of its own, gone after the tests."""

from __future__ import annotations

import asyncio
import http.client
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bench.ports import free_port
from inference.shards.buckets import bucket_of, schema_of
from inference.train import train

PG_FOLDERS = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def program(name: str, *folders: Path) -> str:
    """Its path; skips the test where it is not installed."""
    places = os.pathsep.join([*(str(folder) for folder in folders), os.environ.get("PATH", ""), "/usr/sbin"])
    if found := shutil.which(name, path=places):
        return found
    return pytest.skip(f"{name} is not installed here (Debian's postgresql-15, redis-server and pgbouncer have it)")


def unprivileged() -> dict[str, Any]:
    """PostgreSQL and PgBouncer refuse root: the account to run them as."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextmanager
def folder() -> Iterator[Path]:
    """A short path (sockets have a limit), owned by who runs the servers."""
    path = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))
    try:
        if account := unprivileged():
            os.chown(path, account["user"], account["group"])
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def running(command: list[str], answers: Callable[[], bool], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A server process, ready once `answers` says so; ended after."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **options)
    try:
        until = time.monotonic() + 60
        while not answers():
            assert process.poll() is None, f"{command[0]} ended with {process.returncode}"
            assert time.monotonic() < until, f"{command[0]} does not answer"
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        with suppress(ProcessLookupError):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@dataclass(frozen=True)
class Postgres:
    """A server with the databases features, features_0 and features_1, and a role `app` that owns nothing."""

    port: int
    process: subprocess.Popen[bytes]

    def address(self, database: str = "features", user: str = "app", port: int | None = None) -> str:
        return (
            f"postgresql://{user}@127.0.0.1:{port or self.port}/{database}"
            "?sslmode=disable&gssencmode=disable&application_name=tests"
        )

    def run(self, statement: str, params: Any = None, database: str = "features") -> list[tuple[Any, ...]]:
        with psycopg.connect(self.address(database, "postgres"), autocommit=True) as connection:
            cursor = connection.execute(statement, params)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    def own(self, keys: Iterable[str], database: str = "features") -> None:
        """Give the database empty tables for the keys' buckets, which `app` may read and write."""
        for schema in sorted({schema_of(bucket_of(key)) for key in keys}):
            self.run(
                f"""DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema};
                GRANT USAGE ON SCHEMA {schema} TO app;
                CREATE TABLE {schema}.features (entity_id text PRIMARY KEY, features double precision[] NOT NULL,
                    updated_at timestamptz NOT NULL DEFAULT now());
                GRANT SELECT, INSERT, UPDATE, DELETE ON {schema}.features TO app""",
                database=database,
            )


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    initdb, server = program("initdb", *PG_FOLDERS), program("postgres", *PG_FOLDERS)
    account = unprivileged()
    with folder() as path:
        command = [initdb, "-D", f"{path}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-N"]
        subprocess.run(command, check=True, capture_output=True, cwd=path, **account)
        port = free_port()
        quick = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={path}"]
        started = [server, "-D", f"{path}/data", "-p", str(port), *quick, "-c", "max_connections=100"]
        found: list[Postgres] = []

        def answers() -> bool:
            with suppress(psycopg.OperationalError):
                psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres").close()
                return True
            return False

        with running(started, answers, cwd=path, stderr=subprocess.DEVNULL, **account) as process:
            found.append(Postgres(port, process))
            for database in ("features", "features_0", "features_1"):
                with psycopg.connect(found[0].address("postgres", "postgres"), autocommit=True) as connection:
                    connection.execute(f"CREATE DATABASE {database}")  # type: ignore[call-overload]
            found[0].run("CREATE ROLE app LOGIN")
            yield found[0]


@dataclass(frozen=True)
class RedisServer:
    port: int
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="session")
def redis_servers() -> Iterator[Callable[..., RedisServer]]:
    """Starts a redis-server with the given options; all end with the session."""
    binary = program("redis-server")
    with folder() as path:
        ends: list[Any] = []

        def start(*options: str, config: str | None = None) -> RedisServer:
            port = free_port()
            own = path / str(port)
            own.mkdir()
            (own / "redis.conf").write_text(config or "")
            arguments = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(own), "--save", "", *options]
            context = running([binary, str(own / "redis.conf"), *arguments], lambda: accepts(port))
            process = context.__enter__()
            ends.append(context)
            return RedisServer(port, process)

        try:
            yield start
        finally:
            for context in reversed(ends):
                context.__exit__(None, None, None)


@pytest.fixture(scope="session")
def redis_server(redis_servers: Callable[..., RedisServer]) -> RedisServer:
    return redis_servers()


@pytest.fixture(scope="session")
def pgbouncer(postgres: Postgres) -> Iterator[int]:
    """PgBouncer in transaction mode before the server, with 2 server connections a database; its port."""
    binary = program("pgbouncer")
    account = unprivileged()
    with folder() as path:
        port = free_port()
        (path / "users.txt").write_text('"app" ""\n')
        (path / "pgbouncer.ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {path}/users.txt\n"
            "pool_mode = transaction\ndefault_pool_size = 2\nmax_client_conn = 1000\nserver_login_retry = 1\n"
        )
        with running([binary, f"{path}/pgbouncer.ini"], lambda: accepts(port), stderr=subprocess.DEVNULL, **account):
            yield port


@dataclass
class Proxy:
    """A TCP proxy that breaks things on purpose.

    `on_sent` is called with what a client sent, before or after it is passed on; what it returns decides: "" passes it,
    "drop" cuts the client off before the server sees it, "cut" after the server has answered it, "hang" passes it and
    never tells the answer.
    """

    target: int
    on_sent: Callable[[bytes], str] = lambda _: ""
    port: int = 0
    accepting: bool = True
    open: set[asyncio.StreamWriter] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self.accepting:
            writer.close()
            return
        self.open.add(writer)
        answer, upstream = await asyncio.open_connection("127.0.0.1", self.target)
        mute = asyncio.Event()

        async def back() -> None:
            while data := await answer.read(65536):
                if not mute.is_set():
                    writer.write(data)
                    await writer.drain()

        returning = asyncio.create_task(back())
        try:
            while data := await reader.read(65536):
                verdict = self.on_sent(data)
                if verdict == "drop":
                    break
                if verdict:
                    mute.set()
                upstream.write(data)
                await upstream.drain()
                if verdict == "cut":
                    await asyncio.sleep(0.2)  # the server has answered by then, into the void
                    break
        except ConnectionError:
            pass
        finally:
            returning.cancel()
            upstream.close()
            writer.close()
            self.open.discard(writer)


@pytest.fixture
def proxy() -> Callable[[int], AbstractAsyncContextManager[Proxy]]:
    """Makes a Proxy to a port."""

    @asynccontextmanager
    async def make(target: int) -> AsyncIterator[Proxy]:
        made = Proxy(target)
        server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
        made.port = server.sockets[0].getsockname()[1]
        try:
            yield made
        finally:
            server.close()
            for writer in list(made.open):
                writer.transport.abort()

    return make


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the trained sample model."""
    out = tmp_path_factory.mktemp("model")
    train(out)
    return out


@dataclass(frozen=True)
class Service:
    """A real `python -m inference`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path


@pytest.fixture
def serve(sample: Path, tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts the service as a process of its own, ready to answer, with the given settings."""
    ends: list[Any] = []

    def start(**settings: object) -> Service:
        port = free_port()
        log = tmp_path / f"{port}.log"
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("DATABASE", "REDIS"))},
            **{"HOST": "127.0.0.1", "PORT": str(port), "MODEL_PATH": str(sample / "model.onnx"), "LOG_FORMAT": "json"},
            **{name: str(value) for name, value in settings.items()},
        }

        def answers() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            with closing(connection), suppress(OSError):
                connection.request("GET", "/health/ready")
                return connection.getresponse().status == 200
            return False

        # Not the helper's own pipe: what the process says is read from the file.
        process = subprocess.Popen(
            [sys.executable, "-m", "inference"], env=environment, stdout=log.open("wb"), stderr=subprocess.STDOUT
        )
        ends.append(process)
        until = time.monotonic() + 60
        while not answers():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.05)
        return Service(f"http://127.0.0.1:{port}", process, log)

    yield start
    for process in ends:
        process.kill()
        process.wait()
