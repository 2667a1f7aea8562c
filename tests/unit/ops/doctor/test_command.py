"""`headroom doctor` as a person types it: what is printed, and the exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from headroom.cli import doctor as command
from headroom.cli.main import application
from headroom.ops import doctor as clinic
from headroom.ops.doctor import Diagnosis, Finding, Severity
from headroom.ops.doctor.snapshot import Unseen

OOM = Finding(
    anchor="out-of-memory",
    severity=Severity.error,
    component="inference",
    subject="pod headroom/inference-1, container inference",
    symptom="was killed for its memory, 4 times",
    because="its limit is 64Mi, below the 1Gi of the plan",
    fix="headroom up --stack local",
    evidence=("log: loading [bold]model",),
)
BOUND = Finding(
    anchor="autoscaler-is-at-its-bound",
    severity=Severity.warning,
    component="inference",
    subject="autoscaler of headroom/inference",
    symptom="has its maximum of 3 pods, and needs more",
    because="the load is above the plan",
    fix="headroom scale inference --to 4",
)


class Where:
    kubectl, real_pods, title = None, True, "the cluster"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(command.target, "resolve", lambda *_: (Where(), None))

    def go(*args: str, found: tuple[Finding, ...] = (), unseen: tuple[Unseen, ...] = ()) -> Result:
        monkeypatch.setattr(clinic, "examine", lambda *_, **__: Diagnosis(found, unseen))
        return CliRunner().invoke(application("doctor"), ["doctor", *args])

    return go


def test_a_finding_has_evidence_cause_fix_and_a_section(run: Any) -> None:
    done = run(found=(OOM,), unseen=(Unseen("volumes on node n", "forbidden"),))
    assert done.exit_code == 1
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines == [
        "error  inference  pod headroom/inference-1, container inference was killed for its memory, 4 times",
        "log: loading [bold]model",
        "because its limit is 64Mi, below the 1Gi of the plan",
        "fix: headroom up --stack local",
        "more: docs/runbook.md#out-of-memory",
        "1 error",
        "not looked at: volumes on node n (forbidden)",
    ]


def test_a_warning_is_no_failure(run: Any) -> None:
    done = run(found=(BOUND,))
    assert done.exit_code == 0
    assert "1 warning" in done.stdout


def test_nothing_is_wrong(run: Any) -> None:
    done = run()
    assert (done.exit_code, done.stdout.strip()) == (0, "nothing is wrong")


def test_json_has_it_all(run: Any) -> None:
    done = run("--format", "json", found=(OOM, BOUND))
    assert done.exit_code == 1
    told: dict[str, Any] = json.loads(done.stdout)
    assert [f["severity"] for f in told["findings"]] == ["error", "warning"]
    assert told["findings"][0]["runbook"] == "docs/runbook.md#out-of-memory"
    assert told["notLookedAt"] == []


def test_an_unknown_service_is_refused_with_those_that_there_are(run: Any) -> None:
    done = run("inferense")
    assert getattr(done.exception, "exit_code", 0) == 2
    assert "choose one of inference, postgres, pgbouncer, redis, h2o" in str(done.exception)


@pytest.mark.parametrize("name", ["doctor", "verify", "checklist", "rightsize"])
def test_help_teaches_with_an_example(name: str) -> None:
    done = CliRunner().invoke(application(name), [name, "--help"])
    assert done.exit_code == 0
    assert f"headroom {name} " in done.stdout.replace("Usage: headroom", "")
