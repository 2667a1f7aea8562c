"""From use to an edit of the stack file: rounding, comments that stay, refusals, and what it costs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from headroom.cli import rightsize as command
from headroom.cli.main import application
from headroom.errors import EnvironmentFailure, InputError
from headroom.kubectl import Kubectl
from headroom.ops import rightsize
from headroom.ops.rightsize import Sizes, Use, Window

STACK = """\
config:
  headroom:environment: dev
  headroom:namespace: ml
  headroom:services:
    inference:
      preset: fastapi
      image: registry.example/inference:1.0.0
      demand: { targetRps: 900 } # the busiest hour
      profile: # measured in spring
        rpsPerPod: 100
        workerThreads: 4
        cpu: "1" # a whole one
        memory: 2Gi
      autoscaling: { metrics: resource }
    tiered: { preset: fastapi, image: registry.example/x:1, tier: light, autoscaling: { metrics: resource } }
"""
MI = 2**20
USED = Use(0.3123, 0.58, 700.5 * MI, 760 * MI, 801 * MI, pods=5, seconds=7 * 86400)


class Recorded(Kubectl):
    """A cluster whose Prometheus saw this use."""

    seen: dict[str, float]

    def run(self, *args: str, **_: Any) -> subprocess.CompletedProcess[str]:
        if args[:2] == ("get", "services"):
            labels = {"app.kubernetes.io/name": "prometheus", "app.kubernetes.io/component": "server"}
            metadata = {"name": "prometheus-server", "namespace": "monitoring", "labels": labels}
            service = {"metadata": metadata, "spec": {"ports": [{"name": "http", "port": 80}]}}
            return subprocess.CompletedProcess(args, 0, json.dumps({"items": [service]}), "")
        query = unquote(args[2])
        assert 'namespace="ml"' in query
        assert 'container="inference"' in query
        value = next(v for words, v in self.seen.items() if words in query)
        result = [{"metric": {}, "value": [1, str(value)]}]
        answer = {"status": "success", "data": {"resultType": "vector", "result": result}}
        return subprocess.CompletedProcess(args, 0, json.dumps(answer), "")


def cluster(minutes: float = 7 * 1440) -> Recorded:
    made = Recorded(Path("kubectl"), Path("kubeconfig"))
    seen = {
        "count_over_time((count(": minutes,
        "count(count by (pod)": 5,
        "quantile_over_time(0.95, sum by (pod) (rate(container_cpu": USED.cpu_p95,
        "quantile_over_time(0.99, sum by (pod) (rate(container_cpu": USED.cpu_p99,
        "quantile_over_time(0.95, max by (pod) (container_memory": USED.memory_p95,
        "quantile_over_time(0.99, max by (pod) (container_memory": USED.memory_p99,
        "max_over_time(container_memory": USED.memory_peak,
    }
    object.__setattr__(made, "seen", seen)
    return made


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "Pulumi.ml.yaml"
    found.write_text(STACK)
    return found


def test_sizes_are_rounded_up_and_a_memory_limit_covers_the_peak() -> None:
    assert rightsize.sized(USED) == Sizes("320m", "580m", "704Mi", "816Mi")


def test_an_idle_pod_still_asks_for_something() -> None:
    assert rightsize.sized(Use(0.0, 0.0, 0, 0, 0, 1, 86400)) == Sizes("10m", "10m", "32Mi", "32Mi")


def test_a_whole_number_of_cores_is_one() -> None:
    assert rightsize.sized(Use(1.0, 2.0, MI, MI, MI, 1, 86400)).cpu_limit == "2"


def test_the_edit_touches_four_values_and_no_comment(file: Path) -> None:
    found = rightsize.propose(cluster(), "ml", file, "inference", Window())
    added = [line[1:].strip() for line in found.diff() if line.startswith("+") and not line.startswith("+++")]
    assert added == ["cpu: 320m # a whole one", "memory: 704Mi", "limits: { cpu: 580m, memory: 816Mi }"]
    assert "# measured in spring" in found.draft.after
    assert file.read_text() == STACK
    assert found.now == Sizes("1", "2", "2Gi", "4Gi")
    assert found.after.services[0].resources.memory_limit.value == "816Mi"
    assert all(after < before for _, before, after in found.bill())


def test_an_override_that_would_win_goes(file: Path) -> None:
    override = "      override: { cpuRequest: { value: 2, because: launch } }\n"
    file.write_text(STACK.replace("      autoscaling: {", override + "      autoscaling: {", 1))
    found = rightsize.propose(cluster(), "ml", file, "inference", Window())
    assert "override" not in found.draft.after
    assert found.after.services[0].resources.cpu_request.value == "320m"


def test_too_little_data_is_refused_and_told(file: Path) -> None:
    with pytest.raises(
        EnvironmentFailure, match=r"3 hours of use by 5 pods in the last 7 days, and 24 hours are needed"
    ):
        rightsize.propose(cluster(minutes=180), "ml", file, "inference", Window())
    found = rightsize.propose(cluster(minutes=180), "ml", file, "inference", Window(least=3600))
    assert found.use.seconds == 180 * 60


@pytest.mark.parametrize(("service", "words"), [("inferense", "has no service"), ("tiered", "from a tier")])
def test_what_cannot_be_rightsized(file: Path, service: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        rightsize.propose(cluster(), "ml", file, service, Window())


def test_it_writes_only_when_told(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Where:
        kubectl = cluster()

    monkeypatch.setattr(command.target, "resolve", lambda *_: (Where(), None))

    def run(*args: str) -> Any:
        words = ["rightsize", "inference", "--stack", "ml", "--config", str(file), *args]
        return CliRunner().invoke(application("rightsize"), words)

    shown = run()
    assert shown.exit_code == 0, shown.output
    assert "P99 760Mi, peak 801Mi" in shown.stdout
    assert "a month at minimum replicas" in shown.stdout
    assert file.read_text() == STACK
    written = run("--write")
    assert written.exit_code == 0, written.output
    assert "cpu: 320m # a whole one" in file.read_text()
    assert "nothing to change" in run("--write").stdout
