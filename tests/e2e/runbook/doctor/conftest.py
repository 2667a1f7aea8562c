"""The stack `local` on real pods, what its doctor says, and what breaks it.

Without H2O, whose nodes take most of a small machine; it has a file of its own.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from headroom import local, project
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl

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

    def finds(self, anchor: str, component: str = "", seconds: float = 120) -> dict[str, Any]:
        """Ask until the symptom is found."""
        said: list[dict[str, Any]] = []

        def look() -> Any:
            said[:] = self.doctor(component)
            return next((f for f in said if f["anchor"] == anchor), None)

        return dict(self.until(look, seconds, lambda: f"no {anchor}: {said}"))

    def well(self, component: str = "", seconds: float = 180) -> None:
        """Ask until nothing is wrong; that an autoscaler waits to take a pod away again is no more than a note."""
        said: list[dict[str, Any]] = []

        def look() -> bool:
            said[:] = [f for f in self.doctor(component) if f["severity"] != "note"]
            return not said

        self.until(look, seconds, lambda: f"still: {said}")

    def until(self, what: Callable[[], Any], seconds: float, but: Callable[[], str]) -> Any:
        deadline = time.monotonic() + seconds
        while not (answer := what()):
            if time.monotonic() > deadline:
                pytest.fail(but())
            time.sleep(1)
        return answer

    def patch(self, kind: str, name: str, patch: dict[str, Any]) -> None:
        self.kubectl.run("patch", kind, name, "-n", NAMESPACE, "--type=strategic", "-p", json.dumps(patch))

    def secret(self, name: str, key: str) -> str:
        return base64.b64decode(self.kubectl.get("secret", name, "-n", NAMESPACE)["data"][key]).decode()

    def address(self, service: str) -> str:
        return str(self.kubectl.get("service", service, "-n", NAMESPACE)["spec"]["clusterIP"])

    def pods(self, app: str) -> list[str]:
        return [p["metadata"]["name"] for p in self.kubectl.items("pods", NAMESPACE, f"app={app}")]

    def psql(self, pod: str, statement: str) -> str:
        command = ["psql", "-U", "postgres", "-XAtqc", statement]
        return self.kubectl.run("exec", "-n", NAMESPACE, pod, "-c", "postgres", "--", *command).stdout.strip()

    def redis(self, pod: str, *words: str) -> str:
        """What `redis-cli` says as the administrator."""
        script = 'REDISCLI_AUTH=$(cat /etc/redis-auth/redisAdmin) exec redis-cli --user admin "$@"'
        command = ["exec", "-n", NAMESPACE, pod, "-c", "redis", "--", "sh", "-c", script, "sh", *words]
        return self.kubectl.run(*command, timeout=30).stdout.strip()

    @contextlib.contextmanager
    def asking_for(self, **service: Any) -> Iterator[None]:
        """The doctor compares with a stack file in which the service asks for something else."""
        text = self.file.read_text()
        stack = yaml.safe_load(text)
        stack["config"]["headroom:services"]["inference"] |= service
        self.file.write_text(yaml.safe_dump(stack))
        try:
            yield
        finally:
            self.file.write_text(text)

    @contextlib.contextmanager
    def load(self, rate: float, clients: int = 32) -> Iterator[None]:
        """Predictions for entities that no cache has, each on a connection of its own, at no more than this rate."""
        url, done, numbers = f"http://{self.address('inference')}:8080/predict", threading.Event(), itertools.count()

        def ask() -> None:
            while not done.wait(clients / rate):
                with contextlib.suppress(httpx.HTTPError):
                    entity = {"entity_id": f"nobody-{next(numbers)}"}
                    httpx.post(url, json=entity, headers={"Connection": "close"}, timeout=30)

        with ThreadPoolExecutor(clients) as pool:
            for _ in range(clients):
                pool.submit(ask)
            try:
                yield
            finally:
                done.set()

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
