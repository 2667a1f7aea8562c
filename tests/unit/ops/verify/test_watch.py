"""`headroom verify` once and again: what is printed, what decides the exit code, and how it ends."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headroom.capacity import plan as plans
from headroom.capacity.demand import from_config
from headroom.cli import verify as command
from headroom.cli.main import application
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops import verify as checks
from headroom.ops.verify import Finding, Scene, Verdict

GOOD = Finding("inference", "health", Verdict.passed, "200")
BAD = Finding("inference", "health", Verdict.failed, "503", "kubectl logs")
OLD = Finding("front", "certificates", Verdict.warned, "12 days left", "renew it")


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs the command with these answers of the cluster, one a look; then Ctrl-C comes."""

    def run(*args: str, answers: Sequence[Sequence[Finding]]) -> Result:
        left = list(answers)

        def sleep(_: float) -> None:
            if not left:
                raise KeyboardInterrupt

        monkeypatch.setattr(checks, "run", lambda _scene: iter(left.pop(0)))
        monkeypatch.setattr(command.time, "sleep", sleep)
        monkeypatch.setattr(command.target, "resolve", lambda *_: (_Where(), None))
        return CliRunner().invoke(application("verify"), ["verify", "--stack", "local", *args])

    return run


class _Where:
    kubectl, real_pods, title = None, True, "the cluster"


def test_once_is_one_line_a_check(rounds: Any) -> None:
    done = rounds(answers=[[GOOD, OLD]])
    assert done.exit_code == 0
    assert "pass  inference  health: 200" in done.stdout
    assert "1 passed, 1 warned, 0 failed, 0 skipped on the cluster" in done.stdout
    assert rounds(answers=[[GOOD, BAD]]).exit_code == 1


def test_watching_a_log_gets_what_changed(rounds: Any) -> None:
    done = rounds("--watch", answers=[[GOOD, OLD], [GOOD, OLD], [BAD, OLD], [GOOD, OLD]])
    assert done.exit_code == 0  # the last look decides
    assert done.stdout.count("12 days left") == 1
    assert done.stdout.count("health: 200") == 2
    assert done.stdout.count("health: 503") == 1
    assert done.stdout.count(" on the cluster") == 4
    assert "\x1b" not in done.stdout
    assert rounds("--watch", answers=[[GOOD], [BAD]]).exit_code == 1


def test_watching_as_json_is_a_line_a_round(rounds: Any) -> None:
    done = rounds("--watch", "--format", "json", answers=[[GOOD], [BAD]])
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [t["findings"][0]["verdict"] for t in told] == ["pass", "fail"]


@pytest.mark.parametrize("interval", ["0.1s", "2h", "5", "soon"])
def test_an_interval_that_makes_no_sense_is_refused(rounds: Any, interval: str) -> None:
    assert rounds("--watch", "--interval", interval, answers=[[GOOD]]).exit_code == 2


@pytest.mark.parametrize(("kubectl", "told"), [("/bin/true", ["silent", "health"]), ("/bin/false", ["answers"])])
def test_a_check_without_an_answer_fails_and_the_others_go_on_while_the_cluster_answers(
    monkeypatch: pytest.MonkeyPatch, kubectl: str, told: list[str]
) -> None:
    def silent(_: Scene) -> Iterator[Finding]:
        raise EnvironmentFailure("no answer within 60 s", fix="look at the cluster")
        yield

    monkeypatch.setattr(checks, "CHECKS", (silent, lambda _scene: iter([GOOD])))
    plan = plans.make(from_config("x", {"environment": "dev", "namespace": "x", "services": {}}))
    found = list(checks.run(Scene(plan, Kubectl(Path(kubectl), Path("config")), real_pods=True)))
    assert [f.check for f in found] == told
    assert found[0].verdict is Verdict.failed
