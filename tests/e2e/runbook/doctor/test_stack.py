"""`headroom doctor` on real pods: `local` is well, then one thing breaks, is found with its cause, and mended."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from headroom.cli.main import application
from headroom.local import containers, faults

pytestmark = pytest.mark.e2e

NAMESPACE = "headroom"


def test_a_healthy_stack_gives_none(ward: Any) -> None:
    """At once after `up`: the autoscaler may still be at its first look."""
    ward.well()
    said = ward.headroom("doctor")
    assert said.exit_code == 0
    assert "nothing is wrong" in said.stdout


def test_its_checklist_is_ticked_by_what_is_live(ward: Any) -> None:
    where = ["--stack", "local", "--name", ward.cluster.name]
    done = CliRunner().invoke(application(), ["checklist", *where, "--base", "HEAD", "--format", "markdown"])
    assert done.exit_code == 0, f"{done.output}\n{done.exception}"
    for item in (
        "rollback planned",
        "inference: HPA configured",
        "inference: thread pool configured",
        "StatefulSet pg-shard-0 configured",
        "StatefulSet redis configured",
        "pooling configured",
    ):
        assert f"- [x] {item}: " in done.stdout, done.stdout
    # The stack file in the checkout has H2O, too.
    assert "- [ ] StatefulSet h2o-cluster configured: live nothing" in done.stdout
    assert "- [ ] nothing is wrong **no:**" in done.stdout


def test_memory_crashes_and_images_are_told_apart(ward: Any) -> None:
    """Each a bad revision; the service's old pods serve all the while."""
    with ward.container(resources={"requests": {"memory": "24Mi"}, "limits": {"memory": "40Mi"}}):
        found = ward.finds("out-of-memory", "inference")
        assert "its limit is 40Mi, below the 1Gi of the plan" in found["because"]
        assert found["fix"] == "headroom up --stack local"
    with ward.container(env=[{"name": "MODEL_PATH", "value": "/nowhere/model.onnx"}]):
        found = ward.finds("container-keeps-crashing", "inference")
        assert any("/nowhere/model.onnx" in line for line in found["evidence"]), found
    with ward.container(image="registry.example/inference:none"):
        found = ward.finds("image-cannot-be-pulled", "inference")
        assert "registry.example/inference:none" in found["symptom"]
    ward.well("inference")


def test_a_standby_that_replays_nothing_lags(ward: Any) -> None:
    """Its startup process stands still: it receives, and falls behind. A replay that is only paused Patroni resumes."""
    pods = {ward.psql(p, "SELECT pg_is_in_recovery()"): p for p in ("pg-shard-0-0", "pg-shard-0-1")}
    group = faults.pod_cgroup(ward.cluster, faults.get(ward.cluster, NAMESPACE, pods["t"]), "pids")
    replaying = [p for p in faults.pids(group) if b"startup recovering" in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert len(replaying) == 1
    os.kill(replaying[0], signal.SIGSTOP)
    try:
        ward.psql(
            pods["f"],
            "SELECT count(pg_logical_emit_message(false, 'lag', repeat('x', 1048576))) FROM generate_series(1, 24)",
        )
        found = ward.finds("replication-lags", "postgres")
        assert f"{pods['t']} is " in found["symptom"]
        assert "MiB behind" in found["symptom"]
    finally:
        os.kill(replaying[0], signal.SIGCONT)
    ward.well("postgres")


def test_connections_that_run_out(ward: Any) -> None:
    """Somebody who goes past PgBouncer."""
    dsn = f"host={ward.address('pg-shard-0')} port=5432 user=features dbname=features sslmode=require"
    password = ward.secret("postgres-passwords", "postgresApp")
    with contextlib.ExitStack() as open_:
        with contextlib.suppress(psycopg.OperationalError):
            while True:  # until the server has no more to give but those that are kept for superusers
                open_.enter_context(psycopg.connect(dsn, password=password, connect_timeout=10))
        found = ward.finds("connections-are-used-up", "postgres", seconds=30)
        assert "of 100 connections in use" in found["symptom"]
    ward.well("postgres")


@pytest.mark.slow
def test_a_program_that_hangs(ward: Any) -> None:
    """Its processes are stopped in place: nothing ends, nothing answers."""
    with faults.frozen(ward.cluster, NAMESPACE, "redis-2"):
        found = ward.finds("no-answer", "redis")
        assert found["subject"] == "pod redis-2"
        assert "no answer" in found["evidence"][0]
    ward.well("redis")


@pytest.mark.slow
def test_pgbouncer_that_lets_clients_wait(ward: Any) -> None:
    """Its server connections are held back, as long transactions hold them."""
    pod = ward.kubectl.items("pods", NAMESPACE, "app=pgbouncer")[0]["metadata"]["name"]
    console = ["psql", "-h", "/run/pgbouncer", "-p", "6432", "-U", "pgbouncer", "-d", "pgbouncer", "-XAtqc"]
    inside = ["exec", "-n", NAMESPACE, pod, "-c", "pgbouncer", "--", *console]
    password = ward.secret("postgres-passwords", "postgresApp")
    dsn = f"host={ward.address('pgbouncer')} port=6432 user=features dbname=features_0 sslmode=prefer"
    # Connected before: a login asks the shard for the password, so it would wait unseen.
    with psycopg.connect(dsn, password=password, autocommit=True) as connection:
        asking = threading.Thread(target=connection.execute, args=("SELECT 1",))
        ward.kubectl.run(*inside, "PAUSE")
        try:
            asking.start()
            found = ward.finds("connections-are-used-up", "pgbouncer", seconds=60)
            assert "clients wait for a connection to a shard" in found["symptom"]
        finally:
            ward.kubectl.run(*inside, "RESUME")
            asking.join(60)
    ward.well("pgbouncer")


@pytest.mark.slow
def test_a_standby_that_is_gone(ward: Any) -> None:
    """Its set was scaled by hand."""
    ward.kubectl.run("scale", "statefulset/pg-shard-0", "-n", NAMESPACE, "--replicas=1")
    try:
        found = ward.finds("standby-does-not-follow", "postgres")
        assert "0 of 1 standbys stream from pg-shard-0-0" in found["symptom"]
    finally:
        ward.kubectl.run("scale", "statefulset/pg-shard-0", "-n", NAMESPACE, "--replicas=2")
    ward.well("postgres")


@pytest.mark.slow
def test_a_primary_that_hangs_before_another_is_chosen(ward: Any) -> None:
    roles = {ward.psql(pod, "SELECT pg_is_in_recovery()"): pod for pod in ("pg-shard-0-0", "pg-shard-0-1")}
    with faults.frozen(ward.cluster, NAMESPACE, roles["f"]):
        found = ward.finds("shard-has-no-primary", "postgres", seconds=20)
        assert "so nothing can be written" in found["symptom"]
    ward.well("postgres")


@pytest.mark.slow
def test_a_replica_that_its_master_does_not_let_in(ward: Any) -> None:
    pod = next(p for p in ward.pods("redis") if ward.redis(p, "ROLE").startswith("slave"))
    _, password = ward.redis(pod, "CONFIG", "GET", "masterauth").splitlines()
    ward.redis(pod, "CONFIG", "SET", "masterauth", "nobody-has-this")
    try:
        ward.redis(pod, "CLIENT", "KILL", "TYPE", "master")
        found = ward.finds("redis-replica-does-not-follow", "redis")
        assert f"{pod}: no link to the master" in found["symptom"]
    finally:
        ward.redis(pod, "CONFIG", "SET", "masterauth", password)
    ward.well("redis")


@pytest.mark.slow
def test_redis_that_may_grow_larger_than_its_container(ward: Any) -> None:
    _, planned = ward.redis("redis-0", "CONFIG", "GET", "maxmemory").splitlines()
    ward.redis("redis-0", "CONFIG", "SET", "maxmemory", "1gb")
    try:
        assert "may hold 1,024 Mi" in ward.finds("cache-does-not-fit-its-pod", "redis", seconds=30)["symptom"]
    finally:
        ward.redis("redis-0", "CONFIG", "SET", "maxmemory", planned)
    ward.well("redis")


@pytest.mark.slow
def test_sentinels_without_a_quorum(ward: Any) -> None:
    with faults.frozen(ward.cluster, NAMESPACE, "redis-1"), faults.frozen(ward.cluster, NAMESPACE, "redis-2"):
        found = ward.finds("redis-has-no-leader", "redis")
        assert "of 3 sentinels agree" in found["symptom"] or "has 0 masters" in found["symptom"]
    ward.well("redis", seconds=300)


@pytest.mark.slow
def test_a_volume_that_is_full(ward: Any) -> None:
    """Where the kubelet measures a volume lies a file system without room; the program goes on with its own."""

    def node(*command: str) -> str:
        return containers.inside(ward.cluster.state, command)

    uid = faults.get(ward.cluster, NAMESPACE, "pg-shard-0-0")["metadata"]["uid"]
    mounts = (line.split()[1] for line in node("cat", "/proc/mounts").splitlines())
    place = next(m for m in mounts if uid in m and "local-volume" in m)
    node("mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place)
    try:
        node("dd", "if=/dev/zero", f"of={place}/full", "bs=64k", "count=16")
        found = ward.finds("volume-is-full", "postgres", seconds=240)
        assert "data-pg-shard-0-0" in found["subject"]
    finally:
        node("umount", place)
    ward.well("postgres", seconds=240)


@pytest.mark.slow
def test_a_node_whose_kubelet_is_gone(ward: Any) -> None:
    """Much cannot be looked at then; that is told beside it."""

    def unwell() -> Any:
        said = json.loads(ward.headroom("doctor", "--format", "json").stdout)["findings"]
        return next((f for f in said if f["anchor"] == "node-is-not-well"), None)

    faults.stop(ward.cluster, "kubelet")
    try:
        assert ward.until(unwell, 180, lambda: "the node is well")["symptom"] == "is not ready"
    finally:
        faults.start(ward.cluster)
    ward.well(seconds=300)


def test_what_was_broken_is_whole_again(ward: Any) -> None:
    ward.well()
