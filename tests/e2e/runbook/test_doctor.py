"""`headroom doctor` on real pods: `local` is well, then one thing breaks, is found with its cause, and mended.

Without H2O, whose nodes take most of a small machine; it has a file of its own.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from typer.testing import CliRunner

from headroom import local, project
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.local import faults

pytestmark = pytest.mark.e2e

NAMESPACE = "headroom"


@dataclass(frozen=True)
class Ward:
    """The stack `local`, and what its doctor says."""

    cluster: local.Cluster
    kubectl: Kubectl
    file: Path

    def headroom(self, *args: str) -> Any:
        where = ["--stack", "local", "--name", self.cluster.name, "--config", str(self.file)]
        return CliRunner().invoke(application(), [*args, *where])

    def doctor(self, component: str = "") -> list[dict[str, Any]]:
        """The findings; the exit code must agree with them."""
        done = self.headroom("doctor", *([component] if component else []), "--format", "json")
        assert done.exit_code in (0, 1), done.output
        found = json.loads(done.stdout)
        assert found["notLookedAt"] == []
        errors = [f for f in found["findings"] if f["severity"] == "error"]
        assert done.exit_code == (1 if errors else 0)
        return list(found["findings"])

    def finds(self, anchor: str, component: str, seconds: float = 120) -> dict[str, Any]:
        """Ask until the symptom is found."""
        said: list[dict[str, Any]] = []

        def look() -> Any:
            said[:] = self.doctor(component)
            return next((f for f in said if f["anchor"] == anchor), None)

        return dict(until(look, seconds, lambda: f"no {anchor}: {said}"))

    def well(self, component: str = "", seconds: float = 180) -> None:
        """Ask until nothing is wrong; that an autoscaler waits to take a pod away again is no more than a note."""
        said: list[dict[str, Any]] = []

        def look() -> bool:
            said[:] = [f for f in self.doctor(component) if f["severity"] != "note"]
            return not said

        until(look, seconds, lambda: f"still: {said}")

    def patch(self, kind: str, name: str, patch: dict[str, Any]) -> None:
        self.kubectl.run("patch", kind, name, "-n", NAMESPACE, "--type=strategic", "-p", json.dumps(patch))

    def secret(self, name: str, key: str) -> str:
        return base64.b64decode(self.kubectl.get("secret", name, "-n", NAMESPACE)["data"][key]).decode()

    def address(self, service: str) -> str:
        return str(self.kubectl.get("service", service, "-n", NAMESPACE)["spec"]["clusterIP"])

    def psql(self, pod: str, statement: str) -> str:
        command = ["psql", "-U", "postgres", "-XAtqc", statement]
        return self.kubectl.run("exec", "-n", NAMESPACE, pod, "-c", "postgres", "--", *command).stdout.strip()

    @contextlib.contextmanager
    def container(self, **change: Any) -> Iterator[None]:
        """A new revision of `inference` with its container changed; the one before again afterwards."""
        spec = {"template": {"spec": {"containers": [{"name": "inference", **change}]}}}
        self.patch("deployment", "inference", {"spec": spec})
        try:
            yield
        finally:
            self.kubectl.run("rollout", "undo", "deployment/inference", "-n", NAMESPACE)
            self.kubectl.run(
                *("rollout", "status", "deployment/inference", "-n", NAMESPACE, "--timeout=180s"), timeout=200
            )


def until(what: Callable[[], Any], seconds: float, but: Callable[[], str]) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > deadline:
            pytest.fail(but())
        time.sleep(1)
    return answer


@pytest.fixture(scope="module")
def ward(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ward]:
    stack = yaml.safe_load(project.stack_file("local").read_text())
    del stack["config"]["headroom:h2o"]
    file = tmp_path_factory.mktemp("ward") / "Pulumi.local.yaml"
    file.write_text(yaml.safe_dump(stack))
    made = Ward(cluster, Target.of(cluster).kubectl, file)
    done = made.headroom("up")
    try:
        assert done.exit_code == 0, done.output
        yield made
    finally:
        made.headroom("down", "--delete-data", NAMESPACE)


def test_a_healthy_stack_gives_none(ward: Ward) -> None:
    """At once after `up`: the autoscaler may still be at its first look."""
    ward.well()
    said = ward.headroom("doctor")
    assert said.exit_code == 0
    assert "nothing is wrong" in said.stdout


def test_memory_crashes_and_images_are_told_apart(ward: Ward) -> None:
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


def test_a_standby_that_replays_nothing_lags(ward: Ward) -> None:
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


def test_connections_that_run_out(ward: Ward) -> None:
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


def test_one_pod_that_answers_for_all(ward: Ward) -> None:
    """One client whose one connection stays at the pod that it was opened to."""
    done = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=f"http://{ward.address('inference')}:8080", timeout=5) as client:
            while not done.is_set():
                client.post("/predict", json={"entity_id": "nobody"})
                time.sleep(0.005)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        found = ward.finds("requests-are-uneven", "inference", seconds=90)
        assert "its busiest pod answers" in found["symptom"]
        assert "connections that live long" in found["because"]
        assert any(line.endswith(": 0.0 requests/s") for line in found["evidence"]), found
    finally:
        done.set()
        asking.join()
    ward.well("inference")


@pytest.mark.slow
def test_a_program_that_hangs(ward: Ward) -> None:
    """Its processes are stopped in place: nothing ends, nothing answers."""
    with faults.frozen(ward.cluster, NAMESPACE, "redis-2"):
        found = ward.finds("no-answer", "redis")
        assert found["subject"] == "pod redis-2"
        assert "no answer" in found["evidence"][0]
    ward.well("redis")


@pytest.mark.slow
def test_pgbouncer_that_lets_clients_wait(ward: Ward) -> None:
    """Its server connections are held back, as long transactions hold them."""
    pod = ward.kubectl.items("pods", NAMESPACE, "app=pgbouncer")[0]["metadata"]["name"]
    console = ["psql", "-h", "/run/pgbouncer", "-p", "6432", "-U", "pgbouncer", "-d", "pgbouncer", "-XAtqc"]
    inside = ["exec", "-n", NAMESPACE, pod, "-c", "pgbouncer", "--", *console]
    ward.kubectl.run(*inside, "PAUSE")
    try:
        password = ward.secret("postgres-passwords", "postgresApp")
        dsn = f"host={ward.address('pgbouncer')} port=6432 user=features dbname=features sslmode=prefer"

        def ask() -> None:
            with contextlib.suppress(psycopg.Error), psycopg.connect(dsn, password=password) as connection:
                connection.execute("SELECT 1")

        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        found = ward.finds("connections-are-used-up", "pgbouncer", seconds=60)
        assert "clients wait for a connection to a shard" in found["symptom"]
    finally:
        ward.kubectl.run(*inside, "RESUME")
    asking.join(60)
    ward.well("pgbouncer")


def test_what_was_broken_is_whole_again(ward: Ward) -> None:
    ward.well()
