"""The sub-apps in-process, against moto and against a `pulumi` that writes down how it was called."""

from __future__ import annotations

import json
import os
import re
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
import typer
from typer.testing import CliRunner, Result

from headroom.cli import backend, secrets
from headroom.errors import EnvironmentFailure, HeadroomError, InputError

WHERE = ["--bucket", "team-state", "--region", "eu-west-1"]

# Stands in for the CLI where only our side of the pipe is of interest: keeps what it was given, and does to the stack
# file what `config set --secret --path` does.
FAKE_PULUMI = """\
#!{python}
import json, pathlib, sys
from ruamel.yaml import YAML
args, given = sys.argv[1:], sys.stdin.read()
with open({log!r}, "a") as log:
    log.write(json.dumps({{"args": args, "stdin": given}}) + "\\n")
if {fail!r} and {fail!r} in " ".join(args):
    sys.exit("error: no stack named 'prod' found")
if args[:2] == ["config", "set"]:
    file = pathlib.Path("Pulumi.prod.yaml")
    yaml = YAML()
    document = yaml.load(file)
    key = args[args.index("--path") + 1].removeprefix("headroom:secrets.")
    document["config"].setdefault("headroom:secrets", {{}})[key] = {{"secure": "v1:" + str(len(given)) + "x"}}
    yaml.dump(document, file)
"""


@pytest.fixture
def run() -> Callable[..., Result]:
    app = typer.Typer()
    app.add_typer(backend.app, name="backend")
    app.add_typer(secrets.app, name="secrets")
    runner = CliRunner()

    def run(*args: str) -> Result:
        result = runner.invoke(app, args)
        if result.exception is not None and not isinstance(result.exception, SystemExit | HeadroomError):
            raise result.exception
        return result

    return run


def refused(result: Result) -> HeadroomError:
    assert isinstance(result.exception, HeadroomError), result.output
    return result.exception


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
    (folder / "Pulumi.prod.yaml").write_text(
        "# ours\nconfig:\n  headroom:redis: {mode: cluster}\n  headroom:h2o: {demand: {dataset: 60GB}}\n"
    )
    monkeypatch.chdir(folder)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return folder


@pytest.fixture
def pulumi(tmp_path: Path, project: Path) -> Callable[..., Callable[[], list[dict[str, Any]]]]:
    def install(fail: str = "") -> Callable[[], list[dict[str, Any]]]:
        log, program = tmp_path / "calls", tmp_path / "bin" / "pulumi"
        program.parent.mkdir(exist_ok=True)
        program.write_text(FAKE_PULUMI.format(python=sys.executable, log=str(log), fail=fail))
        program.chmod(0o755)
        return lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    return install


def test_init_says_what_it_changed_and_prints_each_policy(run: Any, cloud: None) -> None:
    result = run("backend", "init", *WHERE, "--github", "acme/platform", "--environment", "prod")
    assert result.exit_code == 0
    assert "changed:\n  bucket team-state: bucket: not there -> created in eu-west-1\n" in result.stdout
    for heading in ("policy for person", "policy for ci", "trust for ci", "policy for preview", "trust for preview"):
        assert f"IAM {heading}\n{{" in result.stdout
    assert "pulumi login 's3://team-state?region=eu-west-1'" in result.stdout
    assert "alias/headroom-team-state" in result.stdout


def test_init_twice_says_that_nothing_is_to_be_changed(run: Any, cloud: None) -> None:
    run("backend", "init", *WHERE)
    assert "nothing to change" in run("backend", "init", *WHERE).stdout


def test_init_as_json_is_one_document(run: Any, cloud: None) -> None:
    result = run("backend", "init", *WHERE, "--format", "json", "--github", "acme/platform")
    document = json.loads(result.stdout)
    key = boto3.client("kms", region_name="eu-west-1").describe_key(KeyId="alias/headroom-team-state")["KeyMetadata"]
    assert document["key"] == key["Arn"]
    assert document["secretsProvider"] == "awskms://alias/headroom-team-state?region=eu-west-1"
    assert set(document["policies"]) == {"person", "ci", "preview"}
    assert set(document["policies"]["ci"]) == {"policy", "trust"}
    assert [c["what"] for c in document["changes"]][:2] == ["bucket", "public access blocked"]


def test_a_dry_run_makes_nothing(run: Any, cloud: None) -> None:
    result = run("backend", "init", *WHERE, "--dry-run")
    assert "would change:" in result.stdout
    assert boto3.client("s3").list_buckets()["Buckets"] == []


def test_check_exits_0_without_drift_and_1_with_the_fix(run: Any, cloud: None) -> None:
    run("backend", "init", *WHERE)
    clean = run("backend", "check", *WHERE)
    assert (clean.exit_code, "no drift" in clean.stdout) == (0, True)
    boto3.client("s3").delete_public_access_block(Bucket="team-state")
    drifted = run("backend", "check", *WHERE)
    assert drifted.exit_code == 1
    assert "public access blocked: not set -> by all four switches" in drifted.stdout
    assert "headroom backend init --bucket team-state --region eu-west-1" in drifted.stderr
    as_json = json.loads(run("backend", "check", *WHERE, "--format", "json").stdout)
    assert [d["what"] for d in as_json["drift"]] == ["public access blocked"]


def test_the_region_may_come_from_the_environment(run: Any, cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert run("backend", "init", "--bucket", "team-state").exit_code == 0


@pytest.mark.parametrize(
    ("args", "kind", "reason"),
    [
        (["backend", "init", "--bucket", "Team", "--region", "eu-west-1"], InputError, "cannot name a bucket"),
        (["backend", "init", "--bucket", "team-state", "--region", "mars"], InputError, "is not an AWS region"),
        (["backend", "init", *WHERE, "--github", "acme"], InputError, "not a GitHub repository"),
        (["backend", "init", *WHERE, "--profile", "nobody"], InputError, "nobody"),
        (["backend", "destroy", *WHERE], InputError, "with every old version of every state"),
        (["backend", "policy", "--for", "admin", *WHERE, "--account", "12"], InputError, "not an AWS account"),
        (["backend", "policy", "--for", "person", *WHERE, "--trust"], InputError, "for CI"),
        (["backend", "policy", "--for", "ci", *WHERE, "--trust"], InputError, "for CI"),
        (["backend", "policy", "--for", "person", *WHERE], EnvironmentFailure, "there is no key"),
        (["backend", "policy", "--for", "ci", *WHERE, "--account", "222222222222"], InputError, "are of account"),
        (["backend", "migrate", "--stack", "prod"], InputError, "where to"),
        (["backend", "migrate", "--stack", "prod", "--bucket", "team-state"], InputError, "needs its region"),
        (["backend", "migrate", "--stack", "none", "--to", "file://~"], InputError, "no stack 'none'"),
        (["backend", "migrate", "--stack", "prod", "--to", "file://~"], EnvironmentFailure, "not on PATH"),
        (["secrets", "init", "--stack", "prod"], EnvironmentFailure, "not on PATH"),
        (["secrets", "init", "--stack", "prod", "--cluster", "../x"], InputError, "a cluster cannot be called"),
        (["secrets", "rotate", "redisApp", "--stack", "prod"], EnvironmentFailure, "not on PATH"),
        (["secrets", "rotate", "nonsense", "--stack", "prod"], InputError, "no secret of this stack"),
    ],
)
def test_what_cannot_be_is_refused_with_a_fix(
    run: Any, cloud: None, project: Path, *, args: list[str], kind: type, reason: str
) -> None:
    before = {p.name: p.read_bytes() for p in project.iterdir()}
    error = refused(run(*args))
    assert type(error) is kind
    assert reason in error.message
    assert error.fix
    assert boto3.client("s3").list_buckets()["Buckets"] == []
    assert {p.name: p.read_bytes() for p in project.iterdir()} == before


def test_without_credentials_it_says_how_to_get_them(run: Any, cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    error = refused(run("backend", "init", *WHERE))
    assert (type(error), error.exit_code) == (EnvironmentFailure, 1)
    assert "credentials" in error.message
    assert "aws sso login" in error.fix


def test_half_of_the_credentials_is_said(run: Any, cloud: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "credentials" in refused(run("backend", "check", *WHERE)).message


def test_an_aws_that_cannot_be_reached_is_said(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    error = refused(run("backend", "check", *WHERE))
    assert "cannot be reached" in error.message
    assert "AWS_ENDPOINT_URL" in error.fix


@pytest.mark.parametrize("role", ["admin", "destroy"])
def test_policies_for_those_who_have_no_rights_yet_need_no_credentials(
    run: Any, monkeypatch: pytest.MonkeyPatch, role: str
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    result = run("backend", "policy", "--for", role, *WHERE, "--account", "123456789012")
    assert json.loads(result.stdout)["Version"] == "2012-10-17"


@pytest.mark.parametrize("role", ["person", "ci", "preview"])
def test_policies_for_stacks_name_the_key(run: Any, cloud: None, role: str) -> None:
    run("backend", "init", *WHERE)
    key = boto3.client("kms", region_name="eu-west-1").describe_key(KeyId="alias/headroom-team-state")["KeyMetadata"]
    statements = json.loads(run("backend", "policy", "--for", role, *WHERE).stdout)["Statement"]
    assert key["Arn"] in [statement["Resource"] for statement in statements]


def test_a_trust_policy_by_itself(run: Any) -> None:
    args = ["--for", "ci", *WHERE, "--account", "123456789012", "--trust", "--github", "acme/platform"]
    result = run("backend", "policy", *args, "--environment", "prod")
    assert "repo:acme/platform:environment:prod" in result.stdout


def test_destroy_with_yes_destroys_and_says_what(run: Any, cloud: None) -> None:
    run("backend", "init", *WHERE)
    assert "would change:" in run("backend", "destroy", *WHERE, "--dry-run").stdout
    result = run("backend", "destroy", *WHERE, "--yes")
    assert "bucket team-state: bucket: 0 old versions and delete markers -> deleted" in result.stdout
    assert boto3.client("s3").list_buckets()["Buckets"] == []


def test_secrets_init_gives_each_value_by_stdin_and_shows_none(run: Any, project: Path, pulumi: Any) -> None:
    calls = pulumi()
    result = run("secrets", "init", "--stack", "prod")
    assert result.exit_code == 0
    assert [c["args"][:6] for c in calls()] == [
        ["config", "set", "--stack", "prod", "--secret", "--path"] for _ in range(4)
    ]
    assert [c["args"][6] for c in calls()] == [
        f"headroom:secrets.{name}" for name in ("redisApp", "redisAdmin", "redisMonitor", "h2oUi")
    ]
    values = [c["stdin"] for c in calls()]
    assert len(set(values)) == 4
    for value in values:
        assert re.fullmatch(r"[A-Za-z0-9]{40}", value)
        assert value not in result.output
        assert not any(value in argument for call in calls() for argument in call["args"])
    assert "generated: redisApp, redisAdmin, redisMonitor, h2oUi" in result.stdout


def test_secrets_init_again_changes_nothing_and_adds_only_what_is_missing(run: Any, project: Path, pulumi: Any) -> None:
    calls = pulumi()
    run("secrets", "init", "--stack", "prod")
    after_first = (project / "Pulumi.prod.yaml").read_text()
    assert "nothing to do" in run("secrets", "init", "--stack", "prod").stdout
    assert (project / "Pulumi.prod.yaml").read_text() == after_first
    (project / "Pulumi.prod.yaml").write_text(after_first.replace("config:", "config:\n  headroom:pgbouncer: {}", 1))
    result = run("secrets", "init", "--stack", "prod")
    assert "generated: pgbouncerAuth" in result.stdout
    assert "left as they were: redisApp" in result.stdout
    assert len(calls()) == 5


def test_a_run_that_pulumi_stops_half_way_is_ended_by_the_next(run: Any, project: Path, pulumi: Any) -> None:
    pulumi(fail="redisMonitor")
    error = refused(run("secrets", "init", "--stack", "prod"))
    assert "no stack named 'prod' found" in error.message
    assert "pulumi stack init" in error.fix
    pulumi()
    assert "generated: redisMonitor, h2oUi" in run("secrets", "init", "--stack", "prod").stdout


def test_secrets_init_dry_run_asks_nothing_of_pulumi(run: Any, project: Path, pulumi: Any) -> None:
    calls = pulumi()
    assert "would generate: redisApp" in run("secrets", "init", "--stack", "prod", "--dry-run").stdout
    assert calls() == []


def test_rotating_says_which_pods_roll(run: Any, project: Path, pulumi: Any) -> None:
    calls = pulumi()
    error = refused(run("secrets", "rotate", "redisApp", "--stack", "prod"))
    assert "no secret redisApp yet" in error.message
    run("secrets", "init", "--stack", "prod")
    result = run("secrets", "rotate", "redisApp", "--stack", "prod")
    assert "pods that roll at the next `headroom up --stack prod`: redis\n" in result.stdout
    assert calls()[-1]["args"][6] == "headroom:secrets.redisApp"
    assert calls()[-1]["stdin"] not in {call["stdin"] for call in calls()[:-1]}
    assert calls()[-1]["stdin"] not in result.output


def test_the_embedded_cluster_keeps_its_own_without_pulumi(run: Any, project: Path, tmp_path: Path) -> None:
    file = tmp_path / "state" / "headroom" / "demo" / "secrets.json"
    assert "would keep" in run("secrets", "init", "--stack", "prod", "--cluster", "demo", "--dry-run").stdout
    assert not file.exists()
    trial = ("secrets", "rotate", "h2oUi", "--stack", "prod", "--cluster", "demo", "--dry-run")
    assert "demo has no secrets" in refused(run(*trial)).message
    assert not file.parent.exists()
    result = run("secrets", "init", "--stack", "prod", "--cluster", "demo")
    held = json.loads(file.read_text())
    assert set(held) == {"redisApp", "redisAdmin", "redisMonitor", "h2oUi"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "would rotate h2oUi" in run(*trial).stdout
    assert json.loads(file.read_text()) == held
    rotated = run("secrets", "rotate", "h2oUi", "--stack", "prod", "--cluster", "demo")
    assert "pods that roll" in rotated.stdout
    after = json.loads(file.read_text())
    assert {name for name in held if held[name] != after[name]} == {"h2oUi"}
    for value in (*held.values(), *after.values()):
        assert value not in result.output + rotated.output


def test_home_is_read_when_it_is_needed(
    run: Any, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    run("secrets", "init", "--stack", "prod", "--cluster", "demo")
    assert os.listdir(tmp_path / "home" / ".local" / "state" / "headroom" / "demo")  # noqa: PTH208
