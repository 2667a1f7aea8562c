"""The inference service with its stores on real pods, features loaded by the command: one stack for these tests."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headroom import local
from headroom.capacity import demand, plan
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.ops import load
from headroom.progress import Silent

STACK = NAMESPACE = "inf"
DEADLINE_MS = 10_000
OVERRIDE: dict[str, Any] = {
    # The number of pods is not what is tried here, and must not move under what is.
    "maxReplicas": {"value": 2, "because": "a test that counts pods"},
    "queueLimit": {"value": 40, "because": "the profile is not that of this machine"},
}
CONFIG: dict[str, Any] = {
    "headroom:environment": "local",
    "headroom:namespace": NAMESPACE,
    "headroom:services": {
        "inference": {
            "preset": "fastapi",
            "image": "localhost/headroom/inference:0.1.0",
            "demand": {"targetRps": 40, "latency": {"p99": "5s"}},
            "profile": {
                **{"rpsPerPod": 20, "serviceTime": "8ms", "serviceTimeCv": 1, "workerThreads": 2},
                **{"cpu": "100m", "memory": "256Mi"},
            },
            "limits": {"cpu": "1", "memory": "768Mi"},
            "autoscaling": {"metrics": "resource"},
            "override": OVERRIDE,
            # A machine that also carries its own load is slow: what counts here is the outcome, not the time.
            "env": {"DEADLINE_MS": str(DEADLINE_MS), "REDIS_TIMEOUT_MS": "2000"},
        }
    },
    "headroom:postgres": {
        "demand": {"dataset": "1GB", "writesPerSecond": 100},
        "shard": {
            **{"capacity": "10GB", "writesPerSecond": 1000, "cpu": "50m", "memory": "640Mi"},
            "limits": {"cpu": "1"},
        },
        "replicationFactor": 2,
        "maxConnections": 100,
    },
    "headroom:pgbouncer": {"cpu": "25m", "memory": "64Mi", "limits": {"cpu": "500m"}},
    "headroom:redis": {
        "mode": "sentinel",
        "demand": {"dataset": "40MB", "opsPerSecond": 1000},
        "node": {"maxmemory": "64Mi", "opsPerSecond": 10000, "cpu": "25m", "limits": {"cpu": "500m"}},
    },
}


@dataclass(frozen=True)
class Site:
    """The stack on a cluster; `folder` is for its stack file and what is loaded."""

    cluster: local.Cluster
    folder: Path

    def headroom(self, *args: str, stack: bool = True) -> Result:
        """A command as a person types it, in this process."""
        where = ("--stack", STACK, "--config", str(self.file), "--name", self.cluster.name) if stack else ()
        return CliRunner().invoke(application(), [*args, *where])

    @property
    def file(self) -> Path:
        return self.folder / f"Pulumi.{STACK}.yaml"

    def up(self, **service: Any) -> None:
        """Deploy it, the service with these keys changed."""
        config = deepcopy(CONFIG)
        inference = config["headroom:services"]["inference"]
        for key in ("env", "override"):
            inference[key] |= service.pop(key, {})
        inference |= service
        self.file.write_text(json.dumps({"config": config}))  # JSON is YAML
        done = self.headroom("up")
        assert done.exit_code == 0, done.output

    def down(self) -> None:
        gone = self.headroom("down", "--delete-data", NAMESPACE)
        assert gone.exit_code == 0, gone.output

    @property
    def kubectl(self) -> Kubectl:
        return Target.of(self.cluster).kubectl

    @property
    def url(self) -> str:
        return f"http://{self.kubectl.get('service', 'inference', '-n', NAMESPACE)['spec']['clusterIP']}:8080"

    def pods(self) -> dict[str, Any]:
        """The service's pods that stay, by name."""
        found = self.kubectl.items("pods", NAMESPACE, "app.kubernetes.io/name=inference")
        return {p["metadata"]["name"]: p for p in found if "deletionTimestamp" not in p["metadata"]}

    def planned(self) -> Any:
        return plan.make(demand.load(STACK, self.file))

    def failures(self) -> str:
        """What the pods said of requests that they could not serve, the last lines of each."""
        said = []
        for name in self.pods():
            logs = self.kubectl.run("logs", "-n", NAMESPACE, name, "--tail=400", check=False).stdout
            said += [f"{name}: {line}" for line in logs.splitlines() if '"status"' in line or "Traceback" in line][-8:]
        return "\n".join(said)

    def until(self, holds: Callable[[], Any], what: str, seconds: float = 120) -> Any:
        """Ask until it is so."""
        deadline = time.monotonic() + seconds
        while not (answer := holds()):
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(0.5)
        return answer

    @contextmanager
    def loaded(self, shape: load.Shape, rate: float, seconds: float) -> Iterator[Future[load.Reading]]:
        """Load on the Service for `seconds`, begun when the block begins; its reading comes with the future."""
        generator = load.Generator.ready(Silent())
        url = self.url
        with ThreadPoolExecutor(1) as pool:
            future = pool.submit(generator.run, url, shape, rate, seconds, Silent())
            time.sleep(3)  # its clients are made, and requests flow
            yield future
            future.result()

    def features(self, names: list[str], rows: list[list[str]]) -> Path:
        """A CSV as `headroom features load` takes it: these entities, the rows in turn."""
        file = self.folder / f"{names[0]}.csv"
        with file.open("w", newline="", encoding="utf-8") as out:
            writer = csv.writer(out)
            writer.writerow(["entity_id", *(f"f{n}" for n in range(len(rows[0])))])
            writer.writerows([name, *rows[number % len(rows)]] for number, name in enumerate(names))
        return file


@pytest.fixture(scope="session")
def rows() -> list[list[str]]:
    """Features of the sample's entities, as text."""
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415 - a second, only where it is needed

    return [[repr(float(value)) for value in row] for row in load_breast_cancer().data]


@pytest.fixture(scope="session")
def site(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]) -> Iterator[Site]:
    """The stack, deployed, with the sample's entities in its shard."""
    made = Site(cluster, tmp_path_factory.mktemp("inference"))
    try:
        made.up()
        file = made.features([f"entity-{n:04d}" for n in range(len(rows))], rows)
        done = made.headroom("features", "load", str(file))
        assert done.exit_code == 0, done.output
        yield made
    finally:
        made.down()
