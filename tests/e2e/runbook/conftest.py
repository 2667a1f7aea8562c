"""One service on real pods, what a person types, and clients that count what fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from headroom import local
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl

NAMESPACE = "runbook"
CONFIG = """\
config:
  headroom:environment: local
  headroom:namespace: runbook
  headroom:services:
    inference:
      preset: fastapi
      image: localhost/headroom/inference:0.1.0 # ours
      demand: { targetRps: 40 } # 2 pods and at most 3
      profile: { rpsPerPod: 20, serviceTime: 8ms, workerThreads: 2, cpu: 50m, memory: 192Mi }
      limits: { cpu: "1", memory: 768Mi }
      drain: { preStop: 3s, timeout: 7s }
      autoscaling: { metrics: resource }
      # A busy machine must not move the pods that are counted here.
      override: { targetCPUUtilization: { value: 100, because: "counted pods" } }
"""


@dataclass
class Served:
    """What clients saw: answers, and what was none or said that the service failed."""

    answers: int = 0
    failures: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Shop:
    """A stack of one service, deployed from a stack file of its own."""

    cluster: local.Cluster
    kubectl: Kubectl
    file: Path

    def run(self, *args: str) -> Result:
        where = ["--stack", "runbook", "--name", self.cluster.name, "--config", str(self.file)]
        return CliRunner().invoke(application(), [*args, *where])

    def ok(self, *args: str) -> Result:
        done = self.run(*args)
        assert done.exit_code == 0, f"{done.output}\n{done.exception}"
        return done

    def get(self, kind: str, name: str) -> Any:
        return self.kubectl.find(kind, name, NAMESPACE)

    @property
    def bounds(self) -> tuple[int, int]:
        spec = self.get("hpa", "inference-hpa")["spec"]
        return spec["minReplicas"], spec["maxReplicas"]

    @property
    def ready(self) -> int:
        return int(self.get("deployment", "inference")["status"].get("readyReplicas", 0))

    def pods(self, track: str = "stable") -> set[str]:
        """The names of the pods that stay."""
        found = self.kubectl.items("pods", NAMESPACE, f"app=inference,headroom.dev/track={track}")
        return {p["metadata"]["name"] for p in found if "deletionTimestamp" not in p["metadata"]}

    @property
    def url(self) -> str:
        return f"http://{self.get('service', 'inference')['spec']['clusterIP']}:8080"

    def asked(self) -> int:
        """The status of one prediction; 404 is right for one that nobody knows."""
        return httpx.post(f"{self.url}/predict", json={"entity_id": "nobody"}, timeout=30).status_code

    def until(self, holds: Callable[[], Any], what: str, seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
            time.sleep(1)

    @contextmanager
    def clients(self, rate: float = 8.0) -> Iterator[Served]:
        """Requests at a bounded rate, each on a connection of its own so that they reach every pod."""
        served, stop, url = Served(), threading.Event(), self.url

        def ask() -> None:
            while not stop.wait(1 / rate):
                try:
                    # The machine is small and busy: the deadline is not what is tried here.
                    headers = {"Connection": "close", "X-Deadline-Ms": "20000"}
                    body = {"entity_id": "nobody"}
                    status = httpx.post(f"{url}/predict", json=body, headers=headers, timeout=30).status_code
                    served.answers += 1
                    if status >= 500:
                        served.failures.append(str(status))
                except httpx.HTTPError as error:
                    served.failures.append(repr(error))

        thread = threading.Thread(target=ask)
        thread.start()
        try:
            yield served
        finally:
            stop.set()
            thread.join()


@pytest.fixture(scope="module")
def deployed(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    file = tmp_path_factory.mktemp("runbook") / "Pulumi.runbook.yaml"
    file.write_text(CONFIG)
    shop = Shop(cluster, Target.of(cluster).kubectl, file)
    try:
        shop.ok("up")
        yield shop
    finally:
        shop.run("down", "--delete-data", NAMESPACE)


@pytest.fixture
def shop(deployed: Shop) -> Shop:
    """The stack as its file says, whatever the test before left."""
    if deployed.file.read_text() != CONFIG:
        deployed.run("canary", "abort", "inference")
        deployed.file.write_text(CONFIG)
        deployed.ok("up")
    deployed.until(lambda: deployed.ready >= 2, "two pods ready")
    return deployed
