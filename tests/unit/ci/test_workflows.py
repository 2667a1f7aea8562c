"""The GitHub workflows: checked by linters, and what they may do is pinned."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
Workflows = dict[str, dict[str, Any]]


def jobs(workflows: Workflows) -> list[tuple[str, dict[str, Any]]]:
    return [(f"{file}:{name}", job) for file, flow in workflows.items() for name, job in flow["jobs"].items()]


def steps(job: dict[str, Any]) -> list[dict[str, Any]]:
    return list(job.get("steps") or ())


def uses(job: dict[str, Any], action: str) -> list[dict[str, Any]]:
    return [s for s in steps(job) if str(s.get("uses", "")).startswith(f"{action}@")]


def test_actionlint_finds_nothing(actionlint: str) -> None:
    done = subprocess.run([actionlint, "-no-color"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)


def test_zizmor_finds_nothing_of_weight() -> None:
    zizmor = Path(sys.executable).parent / "zizmor"
    command = [str(zizmor), "--offline", "--no-progress", "--quiet", "--min-severity", "medium", ".github"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_code_of_a_pull_request_never_runs_with_the_rights_of_main(workflows: Workflows) -> None:
    for file, flow in workflows.items():
        assert "pull_request_target" not in flow["on"], file
        assert "workflow_run" not in flow["on"], file
        assert "secrets." not in (ROOT / ".github/workflows" / file).read_text(), file


def test_rights_are_given_job_by_job_and_only_these(workflows: Workflows) -> None:
    assert {file: flow["permissions"] for file, flow in workflows.items()} == {file: {} for file in workflows}
    assert {name: job.get("permissions") for name, job in jobs(workflows)} == {
        "deploy.yml:dev": {"contents": "read", "id-token": "write"},
        "deploy.yml:staging": {"contents": "read", "id-token": "write"},
        "deploy.yml:prod": {"contents": "read", "id-token": "write"},
        "deploy-stack.yml:show": {"contents": "read"},
        "deploy-stack.yml:up": {"contents": "read", "id-token": "write"},
        "drift.yml:check": {"contents": "read", "id-token": "write"},
        "drift.yml:issue": {"issues": "write"},
        "preview.yml:preview": {"contents": "read", "id-token": "write", "pull-requests": "write"},
        "pull-request.yml:diff": {"contents": "read"},
        "pull-request.yml:comment": {"pull-requests": "write"},
        "pull-request.yml:dangers": {},
        "pull-request.yml:forget": {"pull-requests": "write"},
        "tests.yml:test": {"contents": "read"},
    }


def test_whoever_gets_credentials_stands_behind_an_environment(workflows: Workflows) -> None:
    credentialed = {name: job for name, job in jobs(workflows) if uses(job, "aws-actions/configure-aws-credentials")}
    assert {name: job["environment"] for name, job in credentialed.items()} == {
        "deploy-stack.yml:up": "${{ inputs.stack }}",
        "drift.yml:check": "drift-${{ matrix.stack }}",
        "preview.yml:preview": "preview-${{ matrix.stack }}",
    }


def test_jobs_that_write_to_a_pull_request_run_none_of_its_code(workflows: Workflows) -> None:
    flow = workflows["pull-request.yml"]["jobs"]
    for name in ("comment", "forget", "dangers"):
        assert not uses(flow[name], "actions/checkout"), name
    assert "write" not in str(flow["diff"]["permissions"])


def test_forks_get_no_credentials_and_no_comment(workflows: Workflows) -> None:
    for file, name in (("preview.yml", "preview"), ("pull-request.yml", "comment"), ("pull-request.yml", "forget")):
        assert "!github.event.pull_request.head.repo.fork" in workflows[file]["jobs"][name]["if"]


def test_actions_are_pinned_by_commit_and_say_which_version(workflows: Workflows) -> None:
    seen: dict[str, set[str]] = {}
    for file in workflows:
        for line in (ROOT / ".github/workflows" / file).read_text().splitlines():
            if "uses:" in line and "uses: ./" not in line:
                match = re.search(r"uses: ([\w./-]+)@([0-9a-f]{40}) # v\d+\.\d+\.\d+$", line)
                assert match, line
                seen.setdefault(match[1], set()).add(match[2])
    assert {action: len(commits) for action, commits in seen.items()} == dict.fromkeys(seen, 1)


def test_checkouts_leave_no_token_behind(workflows: Workflows) -> None:
    for name, job in jobs(workflows):
        for step in uses(job, "actions/checkout"):
            assert step["with"]["persist-credentials"] is False, name


def test_the_engine_always_runs_with_the_policies_and_never_posts_a_diff(workflows: Workflows) -> None:
    for name, job in jobs(workflows):
        for step in uses(job, "pulumi/actions"):
            asked = step["with"]
            assert asked["suppress-outputs"] is True, name
            assert "diff" not in asked, name
            if not asked.get("refresh"):
                assert (asked["policyPacks"], asked["policyPackConfigs"]) == ("policy", "policy/config.json"), name
                assert (ROOT / asked["policyPackConfigs"]).is_file()


def test_the_preview_comment_is_edited_in_place(workflows: Workflows) -> None:
    (step,) = uses(workflows["preview.yml"]["jobs"]["preview"], "pulumi/actions")
    assert (step["with"]["command"], step["with"]["comment-on-pr"], step["with"]["edit-pr-comment"]) == (
        "preview",
        True,
        True,
    )


def test_environments_are_deployed_one_after_the_other(workflows: Workflows) -> None:
    deploy = workflows["deploy.yml"]
    assert deploy["on"]["push"] == {"branches": ["main"]}
    assert {name: job.get("needs") for name, job in deploy["jobs"].items()} == {
        "dev": None,
        "staging": "dev",
        "prod": "staging",
    }
    assert deploy["concurrency"]["cancel-in-progress"] is False


def test_the_drift_check_refreshes_and_expects_no_change(workflows: Workflows) -> None:
    (step,) = uses(workflows["drift.yml"]["jobs"]["check"], "pulumi/actions")
    assert (step["with"]["command"], step["with"]["refresh"], step["with"]["expect-no-changes"]) == (
        "preview",
        True,
        True,
    )


def test_every_stack_is_looked_at(workflows: Workflows) -> None:
    stacks = {f.name.split(".")[1] for f in ROOT.glob("Pulumi.*.yaml")}
    matrix = workflows["pull-request.yml"]["jobs"]
    assert set(matrix["diff"]["strategy"]["matrix"]["stack"]) == stacks
    assert set(matrix["comment"]["strategy"]["matrix"]["stack"]) == stacks
    assert set(workflows["preview.yml"]["jobs"]["preview"]["strategy"]["matrix"]["stack"]) == stacks - {"local"}


def test_the_engine_is_the_one_that_the_program_is_written_for(workflows: Workflows) -> None:
    wanted = re.search(r'"pulumi==([\d.]+)"', (ROOT / "pyproject.toml").read_text())
    assert wanted
    asked = {s["with"]["pulumi-version"] for _, job in jobs(workflows) for s in uses(job, "pulumi/actions")}
    assert asked == {wanted[1]}


def test_the_gitlab_example_in_the_docs_is_valid_yaml_with_the_same_order() -> None:
    text = (ROOT / "docs" / "ci.md").read_text()
    (example,) = re.findall(r"```yaml\n(# \.gitlab-ci\.yml\n.*?)```", text, re.DOTALL)
    pipeline = YAML(typ="safe").load(example)
    assert pipeline["stages"] == ["test", "diff", "preview", "dev", "staging", "prod"]
    deploys = {name: job for name, job in pipeline.items() if name.startswith("up ")}
    assert {name: job["stage"] for name, job in deploys.items()} == {
        "up dev": "dev",
        "up staging": "staging",
        "up prod": "prod",
    }


LABEL = "dangerous-change-accepted"


def test_dangers_are_accepted_by_the_act_of_labelling_alone(workflows: Workflows) -> None:
    """A label that is only there may be from before the commits that it is asked about."""
    flow = workflows["pull-request.yml"]
    assert "labeled" in flow["on"]["pull_request"]["types"]
    (asked,) = (s for s in steps(flow["jobs"]["dangers"]) if "ACCEPTED" in s.get("env", {}))
    assert asked["env"] == {
        "ACCEPTED": "${{ github.event.action == 'labeled' && github.event.label.name == '" + LABEL + "' }}"
    }


@pytest.mark.parametrize(
    ("dangers", "accepted", "status"),
    [("0000", "false", 0), ("0010", "false", 1), ("0010", "", 1), ("0010", "true", 0), ("00", "true", 1)],
)
def test_dangers_that_nobody_accepted_fail_the_check(
    workflows: Workflows, tmp_path: Path, dangers: str, accepted: str, status: int
) -> None:
    (asked,) = (s for s in steps(workflows["pull-request.yml"]["jobs"]["dangers"]) if "ACCEPTED" in s.get("env", {}))
    for stack, count in zip(("local", "dev", "staging", "prod"), dangers, strict=False):
        text = f"<!-- headroom-diff:{stack} -->\n<!-- headroom-dangers:{count} -->\n"
        (tmp_path / f"diff-{stack}.md").write_text(text)
    environment = {"PATH": os.environ["PATH"], "ACCEPTED": accepted}
    command = ["bash", "-e", "-o", "pipefail", "-c", asked["run"]]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr


def test_new_commits_take_the_label_off(workflows: Workflows) -> None:
    flow = workflows["pull-request.yml"]
    assert "synchronize" in flow["on"]["pull_request"]["types"]
    forget = flow["jobs"]["forget"]
    assert "needs" not in forget
    assert forget["if"].split() == [
        *("github.event.action", "==", "'synchronize'", "&&", "!github.event.pull_request.head.repo.fork", "&&"),
        *("contains(github.event.pull_request.labels.*.name,", f"'{LABEL}')"),
    ]
    (step,) = steps(forget)
    assert "if" not in step
    assert step["run"] == f'gh api --silent --method DELETE "repos/$REPOSITORY/issues/$NUMBER/labels/{LABEL}"'
