"""PgBouncer under load: it rolls and reloads without a failed transaction, holds its clients, lets nobody else in."""

from __future__ import annotations

import contextlib
import copy
import json
import re
from collections.abc import Callable, Iterator

import psycopg
import pytest

from bench.postgres.ledger import Ledger
from bench.postgres.site import CONFIG, NAMESPACE, Site, until

pytestmark = pytest.mark.e2e


def console(site: Site, statement: str) -> list[str]:
    command = ["psql", "-h", "/run/pgbouncer", "-p", "6432", "-U", "pgbouncer", "-d", "pgbouncer", "-XAtqc", statement]
    out = site.kubectl.run("exec", "-n", NAMESPACE, "deploy/pgbouncer", "-c", "pgbouncer", "--", *command).stdout
    return out.splitlines()


def pods(site: Site) -> set[str]:
    found = site.kubectl.items("pods", NAMESPACE, "app=pgbouncer")
    return {p["metadata"]["name"] for p in found if "deletionTimestamp" not in p["metadata"]}


def test_a_rolling_restart_fails_no_transaction(
    settled: Site, ledger: Callable[..., Ledger], nothing_lost: Callable[[Ledger], None]
) -> None:
    before = pods(settled)
    written = ledger(0, deadline_s=10.0)
    with written.writing():
        written.wait_for(100)
        settled.kubectl.run("rollout", "restart", "deployment/pgbouncer", "-n", NAMESPACE)
        settled.kubectl.run("rollout", "status", "deployment/pgbouncer", "-n", NAMESPACE, "--timeout=180s", timeout=200)
        gone = lambda: not (before & {p["metadata"]["name"] for p in settled.kubectl.items("pods", NAMESPACE)})  # noqa: E731
        until(gone, 90, "the former pods are gone")
        written.wait_for(200)
    assert written.failed == []
    nothing_lost(written)


def test_a_changed_setting_is_reloaded_and_no_client_notices(
    settled: Site, ledger: Callable[..., Ledger], nothing_lost: Callable[[Ledger], None]
) -> None:
    before = pods(settled)
    changed = copy.deepcopy(CONFIG)
    changed["headroom:pgbouncer"]["defaultPoolSize"] = 15
    written = ledger(0, deadline_s=10.0)
    try:
        with written.writing():
            written.wait_for(100)
            held = psycopg.connect(settled.address() + "_0", autocommit=True, prepare_threshold=None)
            settled.up(changed)
            until(lambda: "default_pool_size|15" in "\n".join(console(settled, "SHOW CONFIG")), 150, "reloaded")
            written.wait_for(100)
            assert held.execute("SELECT 1").fetchone() == (1,)
            held.close()
        assert written.failed == []
        assert not written.retries
        assert pods(settled) == before
        nothing_lost(written)
    finally:
        settled.up()


@contextlib.contextmanager
def many(address: str, count: int) -> Iterator[list[psycopg.Connection[tuple[object, ...]]]]:
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(psycopg.connect(address, autocommit=True, prepare_threshold=None)) for _ in range(count)
        ]


@pytest.mark.parametrize("clients", [500, 1000])
def test_many_clients_share_few_connections(settled: Site, clients: int) -> None:
    """All of them connected at once, each with a transaction of its own, while PostgreSQL takes 100 connections."""
    with many(settled.address() + "_0", clients) as connections:
        answers = [c.execute("SELECT 1").fetchone() for c in connections]
        assert answers == [(1,)] * clients
        leader = settled.leader(0)
        assert leader is not None
        used = int(settled.sql(leader, "SELECT count(*) FROM pg_stat_activity WHERE usename IN ('features', 'pooler')"))
        assert int(settled.sql(leader, "SHOW max_connections")) == 100
        held = [line.split("|")[1] for line in console(settled, "SHOW CLIENTS")]
        assert held.count("features") >= clients
    assert 1 <= used <= 26, "default_pool_size 20 + reserve_pool_size 5 + 1 for the auth user"


def test_an_unrouted_connection_is_an_error(settled: Site) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no such database|SASL authentication failed"):
        psycopg.connect(settled.address(), connect_timeout=5)


def test_nobody_gets_in_without_the_password_or_as_anybody_else(settled: Site) -> None:
    host = settled.host()
    for login in ("features:wrong", f"postgres:{settled.password('postgresSuperuser')}", "pgbouncer:x"):
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(f"postgresql://{login}@{host}:6432/features_0", connect_timeout=5)


def test_every_server_connection_is_encrypted(settled: Site) -> None:
    with psycopg.connect(settled.address() + "_0", prepare_threshold=None) as connection:
        row = connection.execute("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    assert row is not None and row[0] is True and re.match("TLSv1.[23]", row[1])
    plain = f"postgresql://features:{settled.password()}@{settled.host('pg-shard-0')}:5432/features?sslmode=disable"
    with pytest.raises(psycopg.OperationalError, match="no encryption"):
        psycopg.connect(plain, connect_timeout=5)


def test_figures_are_there_to_scrape(settled: Site) -> None:
    pod = next(iter(pods(settled)))
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}:9127/proxy/metrics"
    size = 'pgbouncer_databases_database_pool_size{backend_database="features",database="features_0"} 20'
    # A pool of before may be on its way back to its size: the kubelet takes a minute.
    until(lambda: size in settled.kubectl.raw(path).stdout, 150, "the pool's size is told")
    text = settled.kubectl.raw(path).stdout
    metrics = settled.kubectl.raw(f"/api/v1/namespaces/{NAMESPACE}/pods/https:pg-shard-0-0:8008/proxy/metrics").stdout
    assert "patroni_postgres_running" in metrics
    assert settled.password() not in json.dumps([text, metrics])
