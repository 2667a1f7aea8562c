"""Who gets in, and who is believed: every end proves who it is before it is told anything."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import psycopg
import pytest

from bench.postgres.site import NAMESPACE, Site, until
from headroom.errors import EnvironmentFailure

pytestmark = pytest.mark.e2e

POD = "pg-shard-0-0"
PODS = [f"pg-shard-{shard}-{copy}" for shard in (0, 1) for copy in (0, 1)]


def inside(site: Site, pod: str, *command: str, container: str = "postgres", check: bool = True) -> str:
    done = site.kubectl.run("exec", "-n", NAMESPACE, pod, "-c", container, "--", *command, check=check)
    return done.stdout + done.stderr


def believed(site: Site, pod: str, expected: str) -> bool:
    """Whether Patroni in a pod of shard 0 shows a certificate of the shards, for the name expected."""
    address = f"{pod}.pg-shard-0-pods.{NAMESPACE}.svc:8008"
    command = ["openssl", "s_client", "-connect", address, "-CAfile", "/run/headroom/ca.crt"]
    told = inside(site, POD, *command, "-verify_hostname", expected, check=False)
    return "Verify return code: 0 (ok)" in told


@pytest.mark.parametrize("pod", PODS)
def test_the_rules_in_force_let_in_nobody_unproven(settled: Site, pod: str) -> None:
    query = "SELECT type, database, user_name, auth_method FROM pg_hba_file_rules ORDER BY line_number"
    rules = {tuple(line.split("|")) for line in settled.sql(pod, query).splitlines()}
    assert rules == {
        ("local", "{postgres,features}", "{postgres}", "peer"),
        ("hostssl", "{replication}", "{replicator}", "scram-sha-256"),
        ("hostssl", "{postgres}", "{rewinder}", "scram-sha-256"),
        ("hostssl", "{postgres,features}", "{postgres}", "scram-sha-256"),
        ("hostssl", "{features}", "{features,pooler}", "scram-sha-256"),
        ("hostssl", "{features}", "{replicator}", "scram-sha-256"),  # buckets that move
    }


def test_standbys_follow_only_a_primary_that_proves_itself(settled: Site) -> None:
    for shard in (0, 1):
        leader = settled.leader(shard)
        assert leader is not None
        standby = settled.other(shard, leader)
        told = settled.sql(standby, "SELECT conninfo FROM pg_stat_wal_receiver")
        assert "channel_binding=require" in told and "sslmode=require" in told
        encrypted = "SELECT bool_and(s.ssl) FROM pg_stat_ssl s JOIN pg_stat_replication r USING (pid)"
        assert settled.sql(leader, encrypted) == "t"


def test_a_client_beside_the_pooler_can_bind_its_channel(settled: Site) -> None:
    with psycopg.connect(settled.direct(0) + "&channel_binding=require&require_auth=scram-sha-256") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_superuser_s_password_does_not_open_patroni(settled: Site) -> None:
    """And its own, which the pod's configuration has, does."""
    script = (
        "import base64,json,ssl,sys,urllib.request,urllib.error\n"
        "own = json.load(open('/run/headroom/patroni.yaml'))\n"
        "superuser = own['postgresql']['authentication']['superuser']['password']\n"
        "trust = ssl.create_default_context(cafile='/run/headroom/ca.crt')\n"
        "for password in (superuser, '', own['restapi']['authentication']['password']):\n"
        "    login = base64.b64encode(f'patroni:{password}'.encode()).decode()\n"
        "    call = urllib.request.Request(f'https://{sys.argv[1]}:8008/reload', data=b'', method='POST',\n"
        "                                  headers={'Authorization': f'Basic {login}'})\n"
        "    try:\n"
        "        print(urllib.request.urlopen(call, timeout=10, context=trust).status)\n"
        "    except urllib.error.HTTPError as refused:\n"
        "        print(refused.code)\n"
    )
    name = f"{POD}.pg-shard-0-pods.{NAMESPACE}.svc"
    told = inside(settled, POD, "/opt/patroni/bin/python", "-c", script, name)
    assert told.split() == ["401", "401", "202"]


def test_members_check_each_other(settled: Site) -> None:
    """`patronictl` in one pod asks the other's REST API; the certificate there is of this pod and of no other name."""
    asked = settled.patronictl(POD, "reload", "pg-shard-0", "pg-shard-0-1", "--force")
    assert "Reload request received for member pg-shard-0-1" in asked
    name = f"pg-shard-0-1.pg-shard-0-pods.{NAMESPACE}.svc"
    for expected, verified in ((name, True), (f"pg-shard-1.{NAMESPACE}.svc", False)):
        assert believed(settled, "pg-shard-0-1", expected) is verified


@contextlib.contextmanager
def an_impostor_s_certificate(site: Site, pod: str) -> Iterator[None]:
    """The pod's PostgreSQL shows a certificate that it made itself, for all the right names."""
    folder = "/run/headroom"
    forge = (
        f"set -e; cd {folder}; cp -p server.key kept.key; cp -p server.crt kept.crt; "
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj /CN=pg-shard-0-0 "
        f"-addext subjectAltName=DNS:pg-shard-0.{NAMESPACE}.svc -keyout forged.key -out forged.crt 2>/dev/null; "
        "chmod 600 forged.key; cat forged.key >server.key; cat forged.crt >server.crt; rm forged.*"
    )
    inside(site, pod, "bash", "-c", forge)
    try:
        site.sql(pod, "SELECT pg_reload_conf()", "postgres")
        yield
    finally:
        inside(site, pod, "bash", "-c", f"cd {folder}; cat kept.key >server.key; cat kept.crt >server.crt; rm kept.*")
        site.sql(pod, "SELECT pg_reload_conf()", "postgres")


def reconnect(site: Site) -> None:
    """Have every PgBouncer open its server connections anew."""
    for pod in site.kubectl.items("pods", NAMESPACE, "app=pgbouncer"):
        command = [
            "psql",
            "-h",
            "/run/pgbouncer",
            "-p",
            "6432",
            "-U",
            "pgbouncer",
            "-d",
            "pgbouncer",
            "-c",
            "RECONNECT",
        ]
        inside(site, pod["metadata"]["name"], *command, container="pgbouncer")


def works(site: Site) -> bool:
    try:
        with psycopg.connect(site.address() + "_0?connect_timeout=3", autocommit=True, prepare_threshold=None) as found:
            return found.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False


def test_the_pooler_talks_to_no_impostor(settled: Site) -> None:
    leader = settled.leader(0)
    assert leader is not None
    assert works(settled)
    own = f"{leader}.pg-shard-0-pods.{NAMESPACE}.svc"
    with an_impostor_s_certificate(settled, leader):
        # Its pod may have had it read the files already: then the reload itself is what does not believe it.
        with contextlib.suppress(EnvironmentFailure):
            settled.patronictl(leader, "reload", "pg-shard-0", leader, "--force")
        until(lambda: not believed(settled, leader, own), 30, "Patroni shows the impostor's certificate, too")
        reconnect(settled)
        until(lambda: not works(settled), 30, "the impostor is refused")
        logs = settled.kubectl.run("logs", "-n", NAMESPACE, "deploy/pgbouncer", "-c", "pgbouncer", "--tail=200").stdout
        assert "certificate verify failed" in logs
    until(lambda: works(settled), 30, "the real one is believed again")
    until(lambda: believed(settled, leader, own), 60, "Patroni has its own certificate back, by itself")


def test_nothing_of_a_password_is_in_the_logs(settled: Site) -> None:
    names = ("postgresSuperuser", "postgresReplication", "postgresRewind", "postgresApp", "pgbouncerAuth")
    passwords = [settled.password(name) for name in names]
    for pod in settled.kubectl.items("pods", NAMESPACE):
        name = pod["metadata"]["name"]
        containers = [c["name"] for part in ("containers", "initContainers") for c in pod["spec"].get(part, [])]
        for container in containers:
            with contextlib.suppress(EnvironmentFailure):
                told = settled.kubectl.run("logs", "-n", NAMESPACE, name, "-c", container, "--tail=2000").stdout
                assert not [n for n, p in zip(names, passwords, strict=True) if p in told], (name, container)
