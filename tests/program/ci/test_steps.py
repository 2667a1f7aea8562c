"""The scripts of the workflows' steps, run here."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
Run = Callable[..., subprocess.CompletedProcess[str]]
Step = Callable[[str, str, str], str]
World = Callable[..., dict[str, Any]]

COMMENT = {"GH_TOKEN": "t", "REPOSITORY": "o/r", "NUMBER": "7", "STACK": "prod"}
REPORT = "<!-- headroom-diff:prod -->\n<!-- headroom-dangers:{} -->\n\n### headroom diff: `prod` {}\n"


def work(tmp_path: Path) -> Path:
    return tmp_path / "work"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The project in a repository of its own, with one commit and the virtual environment."""
    folder = tmp_path / "checkout"
    ignored = shutil.ignore_patterns(
        ".git", ".venv*", ".*_cache", ".hypothesis", "__pycache__", "tests", "go", "results"
    )
    shutil.copytree(ROOT, folder, ignore=ignored)
    (folder / ".venv").symlink_to(Path(sys.executable).parent.parent)
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "init", "-q", "-b", "main", str(folder)], check=True)
    (folder / ".git" / "info" / "exclude").write_text("/.venv\n")
    for command in (["add", "-A"], ["commit", "-q", "-m", "base"]):
        subprocess.run(["git", "-C", str(folder), *identity, *command], check=True, capture_output=True)
    return folder


def test_a_pull_request_is_compared_with_its_base(checkout: Path, step: Step, run: Run, tmp_path: Path) -> None:
    script = step("pull-request.yml", "diff", "Compare with the base")
    file = checkout / "Pulumi.prod.yaml"
    text = file.read_text()
    assert "targetRps: 1000," in text
    file.write_text(text.replace("targetRps: 1000,", "targetRps: 1500,"))
    done = run(script, where=checkout, STACK="prod", BASE="HEAD")
    assert done.returncode == 0, done.stderr
    report = (checkout / "diff-prod.md").read_text()
    assert report.splitlines()[0] == "<!-- headroom-diff:prod -->"
    assert "| `inference.maxReplicas` | 15 pods → 23 pods |" in report
    assert "`HorizontalPodAutoscaler ml-platform/inference-hpa`: spec.maxReplicas 15 → 23" in report
    assert (tmp_path / "summary.md").read_text() == report
    assert len(report) < 60_000

    file.write_text(text.replace("targetRps: 1000,", "targetRps: -1,"))
    broken = run(script, where=checkout, STACK="prod", BASE="HEAD")
    assert broken.returncode == 2
    assert "after the change" in (checkout / "diff-prod.md").read_text()


def test_whoever_approves_a_deployment_sees_it(checkout: Path, step: Step, run: Run, tmp_path: Path) -> None:
    script = step("deploy-stack.yml", "show", "Show the change to whoever approves it")
    assert run(script, where=checkout, STACK="dev", BASE="HEAD").returncode == 0
    assert "`dev` does not change" in (tmp_path / "summary.md").read_text()
    nothing = run(script, where=checkout, STACK="dev", BASE="0" * 40)
    assert nothing.returncode == 0, "a deployment does not fail because nothing can be shown"
    assert "::warning::" in nothing.stdout


def test_the_comment_is_written_once_then_edited(step: Step, run: Run, world: World, tmp_path: Path) -> None:
    script = step("pull-request.yml", "comment", "Write or edit the comment")
    report = work(tmp_path) / "diff-prod.md"
    report.write_text(REPORT.format(0, "2 settings change"))
    forged = {"id": 1, "login": "somebody", "body": "<!-- headroom-diff:prod -->"}
    other = {"id": 2, "login": "github-actions[bot]", "body": "<!-- headroom-diff:dev -->"}
    world(comments=[forged, other])
    assert run(script, **COMMENT).returncode == 0
    assert [c["body"] for c in world()["comments"][2:]] == [report.read_text()]

    report.write_text(REPORT.format(0, "does not change"))
    assert run(script, **COMMENT).returncode == 0
    assert [c["body"] for c in world()["comments"]] == [forged["body"], other["body"], report.read_text()]


def test_an_unchanged_stack_is_not_commented_on(step: Step, run: Run, world: World, tmp_path: Path) -> None:
    (work(tmp_path) / "diff-prod.md").write_text(REPORT.format(0, "does not change"))
    assert run(step("pull-request.yml", "comment", "Write or edit the comment"), **COMMENT).returncode == 0
    assert world()["comments"] == []


def test_only_a_report_becomes_a_comment(step: Step, run: Run, world: World, tmp_path: Path) -> None:
    (work(tmp_path) / "diff-prod.md").write_text("buy this\n" + REPORT.format(0, "x"))
    assert run(step("pull-request.yml", "comment", "Write or edit the comment"), **COMMENT).returncode == 1
    assert world()["comments"] == []


@pytest.mark.parametrize(
    ("dangers", "accepted", "code"),
    [((0, 0), "false", 0), ((0, 3), "false", 1), ((1, 3), "true", 0), ((0, 0), "true", 0)],
)
def test_dangers_need_the_label(
    dangers: tuple[int, int], accepted: str, code: int, step: Step, run: Run, tmp_path: Path
) -> None:
    for stack, count in zip(("local", "dev", "staging", "prod"), (0, *dangers, 0), strict=True):
        forged = "+<!-- headroom-dangers:9 -->\n<!-- headroom-dangers:0 -->\n"
        (work(tmp_path) / f"diff-{stack}.md").write_text(REPORT.format(count, "changes") + forged)
    done = run(step("pull-request.yml", "dangers", "Ask for the label"), ACCEPTED=accepted)
    assert done.returncode == code, done.stdout
    assert ("dangerous-change-accepted" in done.stdout) is (code == 1)


def test_no_report_is_no_acceptance(step: Step, run: Run, tmp_path: Path) -> None:
    script = step("pull-request.yml", "dangers", "Ask for the label")
    assert run(script, ACCEPTED="true").returncode == 1
    for stack in ("local", "dev", "staging"):
        (work(tmp_path) / f"diff-{stack}.md").write_text(REPORT.format(0, "x"))
    assert run(script, ACCEPTED="true").returncode == 1, "the report of prod is missing"
    (work(tmp_path) / "diff-prod.md").write_text("")
    assert run(script, ACCEPTED="true").returncode == 1


def test_new_commits_take_the_label_off(step: Step, run: Run, world: World) -> None:
    world(labels=["dangerous-change-accepted", "other"])
    done = run(step("pull-request.yml", "forget", "Take the label off"), GH_TOKEN="t", REPOSITORY="o/r", NUMBER="7")
    assert done.returncode == 0, done.stderr
    assert world()["labels"] == ["other"]


def test_drift_opens_one_issue_a_stack_and_closes_it(step: Step, run: Run, world: World, tmp_path: Path) -> None:
    note = step("drift.yml", "check", "Note the outcome")
    tell = step("drift.yml", "issue", "Open, update or close the issue of each stack")
    env = {"GH_TOKEN": "t", "GH_REPO": "o/r", "RUN": "https://example.com/run/1"}

    def night(**outcomes: str) -> list[tuple[str, bool, int]]:
        for stack, outcome in outcomes.items():
            assert run(note, STACK=stack, OUTCOME=outcome).returncode == 0
        done = run(tell, **env)
        assert done.returncode == 0, done.stderr
        return [(i["title"], i["open"], len(i["said"])) for i in world()["issues"]]

    assert night(dev="success", staging="success", prod="failure") == [("Drift in prod", True, 1)]
    assert night(prod="failure") == [("Drift in prod", True, 2)]
    assert night(prod="success") == [("Drift in prod", False, 3)]
    assert night(prod="failure")[1] == ("Drift in prod", True, 1)
    said = world()["issues"][0]["said"][0]
    assert "https://example.com/run/1" in said
    assert "pulumi preview --refresh --diff --stack prod" in said


def test_a_check_that_did_not_run_is_told_too(step: Step, run: Run, world: World) -> None:
    tell = step("drift.yml", "issue", "Open, update or close the issue of each stack")
    assert run(tell, GH_TOKEN="t", GH_REPO="o/r", RUN="u").returncode == 0
    assert [i["title"] for i in world()["issues"]] == ["Drift in dev", "Drift in staging", "Drift in prod"]
