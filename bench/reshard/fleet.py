"""Three real PostgreSQL servers on loopback with a PgBouncer before them, as a sharded store."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "images" / "postgres")]

from shard import buckets  # noqa: E402
from shard.reshard import tables  # noqa: E402
from shard.reshard.server import Server  # noqa: E402

from bench.ports import free_port  # noqa: E402
from headroom.errors import EnvironmentFailure  # noqa: E402
from inference.shards import BucketMap, bucket_of, schema_of  # noqa: E402

SERVERS = 3
FOLDERS = [str(p) for p in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]


def program(name: str) -> str:
    """Its path. Raises EnvironmentFailure where it is not installed."""
    if found := shutil.which(name, path=os.pathsep.join([*FOLDERS, os.environ.get("PATH", ""), "/usr/sbin"])):
        return found
    raise EnvironmentFailure(f"{name} is not installed here", fix="Debian's postgresql-15 and pgbouncer have it")


def account() -> dict[str, Any]:
    """PostgreSQL and PgBouncer refuse root: whom to run them as."""
    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name for entry in pwd.getpwall()}
    user = pwd.getpwnam("postgres" if "postgres" in names else "nobody")
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


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
            cursor = connection.execute(statement, parameters)
            return list(cursor.fetchall()) if cursor.description else []

    def crash(self, number: int) -> None:
        """Have a server lose all its processes but the first, and recover, as after a kill."""
        ((pid,),) = self.sql(number, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'background writer'")
        os.kill(pid, signal.SIGKILL)

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


@contextlib.contextmanager
def servers(*, durable: bool = False) -> Iterator[tuple[tuple[int, ...], int, Path]]:
    """The servers' ports, PgBouncer's, and its configuration. `durable` servers wait for the disk at every commit."""
    initdb, server, pooler = program("initdb"), program("postgres"), program("pgbouncer")
    # As in the image; what Debian has in /usr/bin is a wrapper, which starts an interpreter first.
    os.environ["PATH"] = os.pathsep.join([*FOLDERS, os.environ.get("PATH", "")])
    folder = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))
    if who := account():
        os.chown(folder, who["user"], who["group"])
    try:
        with contextlib.ExitStack() as stack:
            command = [initdb, "-D", f"{folder}/0", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "-N"]
            subprocess.run(command, check=True, capture_output=True, cwd=folder, **account())
            for n in range(1, SERVERS):
                subprocess.run(["cp", "-a", f"{folder}/0", f"{folder}/{n}"], check=True, **account())
            ports: list[int] = []
            settings = {"fsync": "on" if durable else "off", "wal_level": "logical", "max_connections": "60",
                        "shared_buffers": "32MB",
                        "listen_addresses": "127.0.0.1", "unix_socket_directories": str(folder),
                        "max_wal_size": "256MB", "autovacuum": "off",
                        "wal_retrieve_retry_interval": "500ms"}  # fmt: skip
            for n in range(SERVERS):
                ports.append(port := free_port())
                options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
                stack.enter_context(
                    running([server, "-D", f"{folder}/{n}", "-p", str(port), *options], port, folder, "postgres")
                )
                with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as connection:
                    for role in ("features LOGIN", "pooler LOGIN", "replicator LOGIN REPLICATION"):
                        connection.execute(f"CREATE ROLE {role}")
            port, config = free_port(), folder / "pgbouncer.ini"
            (folder / "users.txt").write_text('"features" ""\n"postgres" ""\n')
            config.write_text(pooler_config(folder, port, tuple(ports), "postgres"))
            config.chmod(0o644)
            stack.enter_context(running([pooler, str(config)], port, folder))
            yield tuple(ports), port, config
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def pooler_config(folder: Path, port: int, ports: tuple[int, ...], database: str) -> str:
    lines = "\n".join(f"features_{n} = host=127.0.0.1 port={p} dbname={database}" for n, p in enumerate(ports))
    return (
        f"[databases]\n{lines}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users.txt\npool_mode = transaction\ndefault_pool_size = 10\n"
        "max_client_conn = 500\nserver_login_retry = 1\nadmin_users = postgres\n"
    )


@contextlib.contextmanager
def store(machines: tuple[tuple[int, ...], int, Path]) -> Iterator[Fleet]:
    """The servers with a database that is new, and no buckets yet."""
    ports, pooler, config = machines
    database = f"t{uuid.uuid4().hex[:10]}"
    for port in ports:
        with psycopg.connect(host="127.0.0.1", port=port, user="postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {database}")
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
                end(one, database)


def end(server: psycopg.Connection[Any], database: str, seconds: float = 60) -> None:
    """Drop it with its slots. What is told to end needs a moment until it has."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            server.execute(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = %s AND active",
                (database,),
            )
            server.execute(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (database,)
            )
            server.execute(f"DROP DATABASE {database} WITH (FORCE)")
        except psycopg.errors.ObjectInUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return
