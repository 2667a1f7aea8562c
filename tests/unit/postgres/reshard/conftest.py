"""Three real PostgreSQL servers on loopback, a PgBouncer before them, and clients that keep a ledger."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

ROOT = Path(__file__).resolve().parents[4]
sys.path[:0] = [str(ROOT / "images" / "postgres")]

from shard import buckets  # type: ignore[import-not-found]  # noqa: E402
from shard.reshard import tables  # type: ignore[import-not-found]  # noqa: E402
from shard.reshard.server import Server  # type: ignore[import-not-found]  # noqa: E402

from headroom.capacity.plan.buckets import owners  # noqa: E402
from inference.deadline import Deadline  # noqa: E402
from inference.shards import BucketMap, KnownMap, OutcomeUnknown, ShardError, Shards, bucket_of, schema_of  # noqa: E402

SERVERS = 3
FOLDERS = [str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def program(name: str) -> str:
    """Its path; skips the test where it is not installed."""
    if found := shutil.which(name, path=os.pathsep.join([*FOLDERS, os.environ.get("PATH", ""), "/usr/sbin"])):
        return found
    return pytest.skip(f"{name} is not installed here (Debian's postgresql-15 and pgbouncer have it)")


def account() -> dict[str, Any]:
    """PostgreSQL and PgBouncer refuse root: whom to run them as."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int, database: str) -> bool:
    if not database:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0
    try:
        psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname=database).close()
    except psycopg.OperationalError:
        return False
    return True


@contextlib.contextmanager
def running(command: list[str], port: int, folder: Path, database: str = "") -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=(folder / "log").open("ab"), **account())  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while not answers(port, database):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, f"{command[0]} does not answer"
            time.sleep(0.05)
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class Fleet:
    """Servers with one database of the test each; PgBouncer has `features_0` … for the clients."""

    ports: tuple[int, ...]
    database: str
    pooler: int
    configured: Path

    @property
    def servers(self) -> dict[int, Any]:
        return {n: self.server(n) for n in range(len(self.ports))}

    def server(self, number: int) -> Any:
        address = {"host": "127.0.0.1", "port": self.ports[number], "user": "postgres", "dbname": self.database}
        return Server(number, address, {**address, "user": "replicator"})

    def connect(self, number: int, user: str = "postgres") -> psycopg.Connection[Any]:
        return psycopg.connect(
            host="127.0.0.1", port=self.ports[number], user=user, dbname=self.database, autocommit=True
        )

    def sql(self, number: int, statement: str, parameters: Any = None) -> list[Any]:
        with self.connect(number) as connection:
            cursor = connection.execute(statement, parameters)  # type: ignore[call-overload]
            return list(cursor.fetchall()) if cursor.description else []

    def address(self) -> str:
        return f"postgresql://features@127.0.0.1:{self.pooler}/features?sslmode=disable&gssencmode=disable"

    def map(self) -> BucketMap:
        ((version, held),) = self.sql(0, "SELECT version, owners FROM headroom.map")
        return BucketMap.of(version, held)

    def own(self, held: tuple[int, ...]) -> None:
        """Give every server the buckets that the map gives it, empty."""
        for number in range(len(self.ports)):
            mine = [bucket for bucket, owner in enumerate(held) if owner == number]
            with self.connect(number) as connection:
                buckets.ensure_common(connection, number)
                tables.ensure(connection)
                buckets.ensure(connection, mine)
                connection.execute("INSERT INTO headroom.map (version, owners) VALUES (1, %s)", (list(held),))

    def fill(self, rows: int) -> list[str]:
        """Rows of every bucket, under the keys that are returned."""
        held = self.map().owners
        keys = [f"row-{n}" for n in range(rows)]
        with contextlib.ExitStack() as stack:
            connections = [stack.enter_context(self.connect(n)) for n in range(len(self.ports))]
            by_bucket: dict[int, list[str]] = {}
            for key in keys:
                by_bucket.setdefault(bucket_of(key), []).append(key)
            for bucket, some in by_bucket.items():
                connections[held[bucket]].execute(
                    f"INSERT INTO {schema_of(bucket)}.features (entity_id, features) "  # noqa: S608
                    "SELECT key, ARRAY[random(), random(), random()] FROM unnest(%s::text[]) AS key",
                    (some,),
                )
        return keys

    def rows(self) -> dict[str, list[tuple[int, Any]]]:
        """Where every key is, on whatever server: `[(server, features)]`."""
        found: dict[str, list[tuple[int, Any]]] = {}
        for number in range(len(self.ports)):
            with self.connect(number) as connection:
                schemas = connection.execute(
                    "SELECT nspname FROM pg_namespace WHERE nspname ~ '^b[0-9]{3}$'"
                ).fetchall()
                for (schema,) in schemas:
                    for key, value in connection.execute(f"SELECT entity_id, features FROM {schema}.features"):  # noqa: S608
                        found.setdefault(key, []).append((number, value))
        return found

    def leftovers(self) -> list[str]:
        """What a move must not leave behind."""
        found = []
        for number in range(len(self.ports)):
            for what, query in {
                "slot": "SELECT slot_name FROM pg_replication_slots WHERE database = current_database()",
                "publication": "SELECT pubname FROM pg_publication",
                "subscription": "SELECT subname FROM pg_subscription WHERE subdbid = "
                "(SELECT oid FROM pg_database WHERE datname = current_database())",
                "marker": "SELECT token FROM headroom.marker",
            }.items():
                found += [f"{number}: {what} {name}" for (name,) in self.sql(number, query)]
        return found

    def fences(self) -> dict[int, list[int]]:
        """The buckets that each server lets the services write."""
        query = (
            "SELECT substr(n.nspname, 2)::int FROM pg_namespace AS n JOIN pg_class AS c ON c.relnamespace = n.oid AND "
            "c.relname = 'features' WHERE n.nspname ~ '^b[0-9]{3}$' "
            "AND has_schema_privilege('features', n.oid, 'USAGE') "
            "AND has_table_privilege('features', c.oid, 'INSERT') AND has_table_privilege('features', c.oid, 'SELECT') "
            "ORDER BY 1"
        )
        return {n: [b for (b,) in self.sql(n, query)] for n in range(len(self.ports))}

    def agrees(self) -> None:
        """Map, records, schemas and fences say the same, and nothing is left over."""
        held = self.map()
        for number, writable in self.fences().items():
            mine = [bucket for bucket, owner in enumerate(held.owners) if owner == number]
            assert writable == mine
            recorded = [b for (b,) in self.sql(number, "SELECT bucket FROM headroom.bucket ORDER BY 1")]
            assert recorded == mine
            schemas = self.sql(
                number, "SELECT substr(nspname, 2)::int FROM pg_namespace WHERE nspname ~ '^b[0-9]{3}$' ORDER BY 1"
            )
            assert [b for (b,) in schemas] == mine
        assert self.leftovers() == []


@pytest.fixture(scope="session")
def machines() -> Iterator[tuple[tuple[int, ...], int, Path]]:
    """The servers' ports, PgBouncer's, and its configuration."""
    initdb, server, pooler = program("initdb"), program("postgres"), program("pgbouncer")
    folder = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))
    if who := account():
        os.chown(folder, who["user"], who["group"])
    try:
        with contextlib.ExitStack() as stack:
            command = [initdb, "-D", f"{folder}/0", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-N"]
            subprocess.run(command, check=True, capture_output=True, cwd=folder, **account())
            for n in range(1, SERVERS):
                subprocess.run(["cp", "-a", f"{folder}/0", f"{folder}/{n}"], check=True, **account())
            ports = tuple(free_port() for _ in range(SERVERS))
            settings = {"fsync": "off", "wal_level": "logical", "max_connections": "60", "shared_buffers": "32MB",
                        "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder),
                        "max_wal_size": "256MB", "autovacuum": "off"}  # fmt: skip
            for n, port in enumerate(ports):
                options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
                stack.enter_context(
                    running([server, "-D", f"{folder}/{n}", "-p", str(port), *options], port, folder, "postgres")
                )
                with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as connection:
                    for role in ("features LOGIN", "pooler LOGIN", "replicator LOGIN REPLICATION"):
                        connection.execute(f"CREATE ROLE {role}")  # type: ignore[call-overload]
            port, config = free_port(), folder / "pgbouncer.ini"
            (folder / "users.txt").write_text('"features" ""\n"postgres" ""\n')
            config.write_text(pooler_config(folder, port, ports, "postgres"))
            config.chmod(0o644)
            stack.enter_context(running([pooler, str(config)], port, folder))
            yield ports, port, config
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pooler_config(folder: Path, port: int, ports: tuple[int, ...], database: str) -> str:
    lines = "\n".join(f"features_{n} = host=127.0.0.1 port={p} dbname={database}" for n, p in enumerate(ports))
    return (
        f"[databases]\n{lines}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users.txt\npool_mode = transaction\ndefault_pool_size = 10\n"
        "max_client_conn = 500\nserver_login_retry = 1\nadmin_users = postgres\n"
    )


@pytest.fixture
def fleet(machines: tuple[tuple[int, ...], int, Path]) -> Iterator[Fleet]:
    """The servers with a database that is new, and no buckets yet."""
    ports, pooler, config = machines
    database = f"t{uuid.uuid4().hex[:10]}"
    for port in ports:
        with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")  # type: ignore[call-overload]
    config.write_text(pooler_config(config.parent, pooler, ports, database))
    with psycopg.connect(
        host="127.0.0.1", port=pooler, user="postgres", dbname="pgbouncer", autocommit=True
    ) as console:
        console.pgconn.exec_(b"RELOAD")
    found = Fleet(ports, database, pooler, config)
    try:
        yield found
    finally:
        for port in ports:
            with psycopg.connect(host="127.0.0.1", port=port, user="postgres", dbname=database, autocommit=True) as one:
                for (name,) in one.execute(
                    "SELECT subname FROM pg_subscription WHERE subdbid = "
                    "(SELECT oid FROM pg_database WHERE datname = current_database())"
                ).fetchall():
                    one.execute(f"ALTER SUBSCRIPTION {name} DISABLE; ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
                    one.execute(f"DROP SUBSCRIPTION {name}")
        for port in ports:
            with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as one:
                one.execute(
                    "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots "
                    "WHERE database = %s AND active", (database,))  # fmt: skip
                for (name,) in one.execute(
                    "SELECT slot_name FROM pg_replication_slots WHERE database = %s", (database,)
                ).fetchall():
                    one.execute("SELECT pg_drop_replication_slot(%s)", (name,))
                one.execute(f"DROP DATABASE {database} WITH (FORCE)")  # type: ignore[call-overload]


@dataclass
class Load:
    """Inserts, updates and deletes through the shard client, each of a key of its own writer, and reads of them.

    `expected` is what the last acknowledged effect on a key left (None: deleted). A write whose outcome is unknown
    makes its key doubtful, and it is not used again.
    """

    address: str
    first: BucketMap
    writers: int = 4
    deadline_s: float = 10.0
    expected: dict[str, list[float] | None] = field(default_factory=dict)
    doubtful: set[str] = field(default_factory=set)
    acknowledged: int = 0
    stale_reads: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0
    _stop: threading.Event = field(default_factory=threading.Event)

    @contextlib.contextmanager
    def running(self) -> Iterator[Load]:
        thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)
        thread.start()
        try:
            self.wait_for(20)
            yield self
        finally:
            self._stop.set()
            thread.join(60)

    def wait_for(self, more: int, seconds: float = 60) -> None:
        wanted, deadline = self.acknowledged + more, time.monotonic() + seconds
        while self.acknowledged < wanted:
            assert time.monotonic() < deadline, f"no {more} more writes; {self.failed[-1:]} {self.retries}"
            time.sleep(0.01)

    async def _all(self) -> None:
        shards = Shards(self.address, buckets=KnownMap(self.first), connections=self.writers * SERVERS,
                        on_retry=lambda _shard, reason: self.retries.update([reason]))  # fmt: skip
        async with shards:
            await asyncio.gather(*(self._writer(shards, n) for n in range(self.writers)))

    async def _writer(self, shards: Shards, writer: int) -> None:
        chance = random.Random(writer)  # noqa: S311
        mine: list[str] = []
        while not self._stop.is_set():
            kind = chance.random() if mine else 0.0
            key = f"load-{writer}-{len(mine)}" if kind < 0.5 else chance.choice(mine)
            if key in self.doubtful:
                continue
            value: list[float] | None = [float(self.acknowledged), chance.random()]
            began = time.monotonic()
            try:
                if kind < 0.8:
                    statement = ("INSERT INTO {schema}.features (entity_id, features) VALUES (%s, %s) "
                                 "ON CONFLICT (entity_id) DO UPDATE SET features = excluded.features")  # fmt: skip
                    await shards.write(key, statement, (key, value), Deadline.after(self.deadline_s), idempotent=True)
                    if key not in self.expected:
                        mine.append(key)
                elif kind < 0.9:
                    value = None
                    statement = "DELETE FROM {schema}.features WHERE entity_id = %s"
                    await shards.write(key, statement, (key,), Deadline.after(self.deadline_s), idempotent=True)
                else:
                    rows = await shards.read(
                        [key], "SELECT entity_id, features FROM {schema}.features WHERE entity_id = ANY(%s)",
                        Deadline.after(self.deadline_s),
                    )  # fmt: skip
                    found = rows[0][1] if rows else None
                    if found != self.expected[key]:
                        self.stale_reads.append(f"{key}: {found} instead of {self.expected[key]}")
                    continue
            except OutcomeUnknown:
                self.doubtful.add(key)
                continue
            except (ShardError, psycopg.Error) as error:
                self.failed.append(f"{type(error).__name__}: {error}")
                self.doubtful.add(key)
                continue
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.expected[key] = value
            self.acknowledged += 1

    def wrong(self, rows: dict[str, list[tuple[int, Any]]], held: BucketMap) -> list[str]:
        """Every acknowledged effect that is not there exactly once, on the shard that the map names."""
        found = []
        for key, value in self.expected.items():
            if key in self.doubtful:
                continue
            there = rows.get(key, [])
            wanted = [] if value is None else [(held.owners[bucket_of(key)], value)]
            if there != wanted:
                found.append(f"{key}: {there} instead of {wanted}")
        return found


MOVING = 6


@pytest.fixture
def grown(fleet: Fleet) -> Fleet:
    """Three servers of which the last has few of its buckets yet: three shards ask for MOVING moves."""
    held = list(owners(3))
    for n, bucket in enumerate([b for b, owner in enumerate(held) if owner == 2][:MOVING]):
        held[bucket] = n % 2
    fleet.own(tuple(held))
    return fleet


@pytest.fixture
def shrunk(fleet: Fleet) -> Fleet:
    """Two servers in use of which the second has MOVING buckets: one shard asks for as many moves."""
    fleet.own(tuple(int(bucket >= 256 - MOVING) for bucket in range(256)))
    return fleet


@pytest.fixture
def load(fleet: Fleet) -> Callable[..., Load]:
    return lambda **more: Load(fleet.address(), fleet.map(), **more)
