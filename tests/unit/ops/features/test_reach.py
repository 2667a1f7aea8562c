"""The way to the shards on a cluster that is not ours: kubectl, played by a script that really forwards."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo
from typer.testing import CliRunner

from headroom.capacity import demand, plan
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.ops.features import Journal, check, load, open_table, reach
from inference.shards.buckets import BUCKETS

ROOT = Path(__file__).parents[4]
PASSWORD = "hunter2-hunter2-hunter2"
CLEARTEXT, MD5 = 3, 5
KUBECTL = """#!/usr/bin/env python3
import asyncio, json, os, sys
from pathlib import Path

here = Path(__file__).parent
known = json.loads((here / "known.json").read_text())
with (here / "calls").open("a") as calls:
    calls.write(" ".join(sys.argv[1:]) + "\\n")


async def forward(local):
    async def serve(reader, writer):
        there, back = await asyncio.open_connection("127.0.0.1", known["postgres"])

        async def pump(source, sink):
            while data := await source.read(65536):
                sink.write(data)
                await sink.drain()
            sink.close()

        await asyncio.gather(pump(reader, back), pump(there, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", local)
    (here / "pid").write_text(str(os.getpid()))
    print(f"Forwarding from 127.0.0.1:{server.sockets[0].getsockname()[1]} -> 6432", flush=True)
    await server.serve_forever()


if "port-forward" in sys.argv:
    if "refused" in known:
        sys.exit(known["refused"])
    asyncio.run(forward(int(sys.argv[-1].partition(":")[0] or 0)))
else:
    print(json.dumps(known["objects"].get(sys.argv[sys.argv.index("get") + 1], "")).strip('"'))
"""


def objects(shards: int) -> dict[str, Any]:
    buckets = {"version": 1, "shards": shards, "buckets": [n % shards for n in range(BUCKETS)]}
    return {
        "configmap": {"data": {"map.json": json.dumps(buckets)}},
        "namespace": {"metadata": {"uid": "uid-1"}},
        "secret": {"data": {"postgresApp": base64.b64encode(PASSWORD.encode()).decode()}},
        "service": {"spec": {"clusterIP": "10.0.0.1", "ports": [{"port": 6432}]}},
    }


@pytest.fixture
def cluster(tmp_path: Path) -> Callable[..., Target]:
    """A target whose kubectl knows these objects and forwards to a port of this machine."""

    def make(port: int, known: dict[str, Any], **more: Any) -> Target:
        (tmp_path / "known.json").write_text(json.dumps({"postgres": port, "objects": known, **more}))
        script = tmp_path / "kubectl"
        script.write_text(KUBECTL)
        script.chmod(0o755)
        return Target(Kubectl(script, None, "theirs"), "context theirs")

    return make


@pytest.fixture(scope="session")
def role(tables: Any) -> Any:
    """The services' role as the stack has it, on the server of these tests."""
    tables.run(f"CREATE ROLE features LOGIN PASSWORD '{PASSWORD}' IN ROLE app")
    hba = Path(tables.run("SHOW hba_file")[0][0])
    hba.write_text("host all features all scram-sha-256\n" + hba.read_text())
    tables.run("SELECT pg_reload_conf()")
    address = conninfo.make_conninfo(
        tables.address("features_0"), user="features", password=PASSWORD, require_auth="scram-sha-256"
    )
    until = time.monotonic() + 60
    while True:
        try:
            psycopg.connect(address).close()
        except psycopg.OperationalError:
            assert time.monotonic() < until, "the server never asks for a proof"
            time.sleep(0.1)
        else:
            return tables


@contextmanager
def server_that_asks(code: int) -> Iterator[tuple[int, list[bytes]]]:
    """The port of a server that asks for a password in one of the protocol's ways, and what it was then sent."""
    sent: list[bytes] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with client, suppress(OSError):
                    client.settimeout(60)
                    asked = client.recv(4096)
                    while struct.unpack("!I", asked[4:8])[0] in (80877103, 80877104):  # TLS, GSS: no
                        client.sendall(b"N")
                        asked = client.recv(4096)
                    salt = b"salt" if code == MD5 else b""
                    client.sendall(b"R" + struct.pack("!II", 8 + len(salt), code) + salt)
                    sent.append(client.recv(4096))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1], sent
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize("code", [CLEARTEXT, MD5])
def test_whoever_answers_gets_no_password(cluster: Callable[..., Target], code: int) -> None:
    with server_that_asks(code) as (port, sent):
        target = cluster(1, objects(2))
        with reach(target, prod(), pooler=f"127.0.0.1:{port}") as store, pytest.raises(psycopg.OperationalError):
            psycopg.connect(store.address).close()
    assert sent
    assert set(sent) == {b""}


def prod() -> plan.Plan:
    return plan.make(demand.load("prod", ROOT / "Pulumi.prod.yaml"))


def test_a_forward_that_breaks_is_opened_again_on_the_same_port(
    role: Any, shards: Any, cluster: Callable[..., Target], csv_file: Callable[..., Path], tmp_path: Path
) -> None:
    target = cluster(role.port, objects(2))
    table = open_table(csv_file("entity_id,a", *(f"e{n},{n}" for n in range(200))))
    checked = check(table)
    with reach(target, prod()) as store:
        load(table, checked, store, Journal(tmp_path / "one"))
        former = int((tmp_path / "pid").read_text())
        os.kill(former, signal.SIGKILL)
        load(table, checked, store, Journal(tmp_path / "two"))
        last = int((tmp_path / "pid").read_text())
        assert last != former
    assert len(shards.stored()) == 200
    until = time.monotonic() + 20
    while Path(f"/proc/{last}").exists():
        assert time.monotonic() < until, "the forward outlives the block"
        time.sleep(0.05)
    calls = (tmp_path / "calls").read_text()
    assert calls.count("port-forward") == 2
    assert all("--context theirs" in line for line in calls.splitlines())
    assert PASSWORD not in calls
    assert PASSWORD not in repr(store)


def test_a_pooler_that_can_be_reached_needs_no_forward(cluster: Callable[..., Target], tmp_path: Path) -> None:
    target = cluster(1, objects(2))
    with reach(target, prod(), pooler="pgbouncer.example:6432") as store:
        parts = psycopg.conninfo.conninfo_to_dict(store.address)
    assert (parts["host"], str(parts["port"]), parts["user"]) == ("pgbouncer.example", "6432", "features")
    assert "port-forward" not in (tmp_path / "calls").read_text()
    with pytest.raises(InputError, match="no host:port"), reach(target, prod(), pooler="pgbouncer"):
        pass


@pytest.mark.parametrize("missing", ["configmap", "secret", "service"])
def test_a_stack_that_is_not_up_is_told(cluster: Callable[..., Target], missing: str) -> None:
    target = cluster(1, {kind: found for kind, found in objects(2).items() if kind != missing})
    with pytest.raises(EnvironmentFailure) as told, reach(target, prod()):
        pass
    assert "headroom up" in told.value.fix


def test_a_forward_that_is_refused_says_why(cluster: Callable[..., Target], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[reach.__module__], "SECONDS", 3)
    target = cluster(1, objects(2), refused="error: pods is forbidden")
    with pytest.raises(EnvironmentFailure, match="pods is forbidden") as told, reach(target, prod()):
        pass
    assert "pods/portforward" in told.value.fix


def test_what_cannot_hold_features(cluster: Callable[..., Target]) -> None:
    target = cluster(1, objects(2))
    bare = plan.make(demand.from_config("bare", {"environment": "dev", "namespace": "bare"}))
    with pytest.raises(InputError, match="has no PostgreSQL"), reach(target, bare):
        pass
    with pytest.raises(InputError, match="fake nodes"), reach(Target(target.kubectl, "x", real_pods=False), prod()):
        pass


def test_the_command_refuses_a_bad_file_before_it_looks_for_a_cluster(csv_file: Callable[..., Path]) -> None:
    bad = CliRunner().invoke(application("features"), ["features", "load", str(csv_file("entity_id,a", "x,y"))])
    assert isinstance(bad.exception, InputError)
    assert "line 2: feature 1 is 'y'" in str(bad.exception)
    good = ["features", "load", str(csv_file("entity_id,a", "x,1")), "--check"]
    done = CliRunner().invoke(application("features"), good)
    assert done.exit_code == 0
    assert "1 entities of 1 features, every row is sound" in done.output


def test_an_unknown_cluster_is_a_message_and_an_exit_code(csv_file: Callable[..., Path]) -> None:
    file = csv_file("entity_id,a", "x,1")
    command = [str(Path(sys.executable).parent / "headroom"), "features", "load", str(file), "--name", "no-such"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "is not running" in done.stderr
    assert "Traceback" not in done.stderr
