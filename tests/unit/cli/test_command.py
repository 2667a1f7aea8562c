"""The command as a person meets it: its words, its exit codes, and what it never prints."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEADROOM = Path(sys.executable).with_name("headroom")


def run(*args: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HEADROOM, *args], capture_output=True, text=True, cwd=cwd, check=False)


@pytest.fixture
def stack_file(tmp_path: Path) -> Path:
    """A stack that works; tests change one thing in it."""
    file = tmp_path / "Pulumi.mine.yaml"
    file.write_text(
        "config:\n"
        "  headroom:environment: dev\n"
        "  headroom:services:\n"
        "    api:\n"
        "      preset: fastapi\n"
        "      image: registry.example/api:1.0.0\n"
        "      demand: {targetRps: 900, latency: {p99: 100ms}}\n"
        "      profile: {rpsPerPod: 100, serviceTime: 8ms}\n"
    )
    return file


def test_plan_as_json_has_the_promised_shape() -> None:
    done = run("plan", "--stack", "prod", "--format", "json")
    assert done.returncode == 0
    plan = json.loads(done.stdout)
    assert list(plan) == ["stack", "lines", "warnings"]
    assert plan["stack"] == "prod"
    assert all(list(line) == ["component", "setting", "value", "unit", "because", "boundBy"] for line in plan["lines"])
    values = {(line["component"], line["setting"]): line["value"] for line in plan["lines"]}
    assert values["inference", "maxReplicas"] == 15
    assert values["postgres", "nodes"] == 8
    assert values["h2o", "heap"] == "40Gi"


def test_plan_of_a_file_elsewhere(stack_file: Path) -> None:
    done = run("plan", "--stack", "mine", "--config", str(stack_file))
    assert done.returncode == 0, done.stderr
    assert "replicasAtTarget" in done.stdout
    assert "ceil(900 rps / 100 a pod) = 9" in done.stdout


def test_plan_in_a_year_grows(stack_file: Path) -> None:
    stack_file.write_text(stack_file.read_text().replace("targetRps: 900", "targetRps: 900, growth: 0.5"))
    done = run("plan", "--config", str(stack_file), "--in", "12mo", "--format", "markdown")
    assert "| api | replicasAtTarget | 14 pods |" in done.stdout


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("targetRps: 900", "targetRsp: 900"), ["headroom:services.api.demand.targetRsp", "targetRps"]),
        (("8ms", "8parsecs"), ["headroom:services.api.profile.serviceTime", "8parsecs"]),
        (("targetRps: 900", "targetRps: -1"), ["headroom:services.api.demand.targetRps", "-1"]),
        (("p99: 100ms", "p99: 30ms"), ["30", "36.8"]),
        (("rpsPerPod: 100", "rpsPerPod: 100}\n      override: {maxReplicas: {value: 30}"), ["because"]),
        (("preset: fastapi", "preset: fastapy"), ["fastapy", "fastapi"]),
    ],
)
def test_bad_input_is_one_message_and_exit_2(stack_file: Path, change: tuple[str, str], words: list[str]) -> None:
    stack_file.write_text(stack_file.read_text().replace(*change))
    done = run("plan", "--config", str(stack_file))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    for word in words:
        assert word in done.stderr


def test_an_unknown_stack_names_those_there_are() -> None:
    done = run("plan", "--stack", "prd")
    assert done.returncode == 2
    assert "Pulumi.prd.yaml does not exist" in done.stderr
    assert "dev, local, prod, staging" in done.stderr


@pytest.mark.parametrize("args", [("pln",), ("plan", "--stack"), ("plan", "--format", "xml"), ("up", "--nope")])
def test_a_mistyped_command_is_exit_2_and_points_to_help(args: tuple[str, ...]) -> None:
    done = run(*args)
    assert done.returncode == 2
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ("rollback --to abc", "'--to': 'abc' is not a whole number"),
        ("rollback --to 1.5", "'--to': '1.5' is not a whole number"),
        ("load x --rate fast", "'--rate': 'fast' is not a number"),
        ("load x --rate 0", "'--rate': '0' is less than 0.1"),
        ("plan --format xml", "'xml' is not one of 'table', 'json', 'markdown'"),
        ("local up --with x --with monitoring", "'x' is not one of"),
    ],
)
def test_a_value_that_cannot_be_is_told_in_plain_words(args: str, words: str) -> None:
    done = run(*args.split())
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert words in told
    assert "Value error" not in told and "Input should" not in told


@pytest.mark.parametrize("command", ["preview", "up", "down", "verify"])
def test_without_a_cluster_it_says_how_to_get_one(command: str) -> None:
    done = run(command, "--stack", "local", "--name", "nobody-made-this-one")
    assert done.returncode == 1
    assert "nobody-made-this-one" in done.stderr
    assert "headroom local up" in done.stderr


@pytest.mark.parametrize(
    "path",
    ["", "plan", "render", "preview", "up", "down", "verify", "diff", "local up", "local down", "local status"],
)
def test_help_teaches(path: str) -> None:
    done = run(*path.split(), "--help")
    assert done.returncode == 0
    assert "Usage: headroom" in done.stdout
    assert len(done.stdout.splitlines()) > 8


def test_render_is_byte_identical_and_leaves_secrets_out(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        done = run("render", "--stack", "prod", "--out", str(tmp_path / folder))
        assert done.returncode == 0, done.stderr
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / d).iterdir()} for d in ("one", "two"))
    assert one == two
    assert not any(b"kind: Secret\n" in text for text in one.values())


def test_interrupt_is_one_line_and_exit_130() -> None:
    # Nobody reads what `plan` prints, which is more than the pipe holds: the interrupt meets it at work.
    process = subprocess.Popen(
        [HEADROOM, "plan", "--stack", "prod", "--format", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        pipesize=4096,
        cwd=ROOT,
    )
    try:
        _wait_until_writing(process.pid)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "stopped" in errors


def _wait_until_writing(pid: int) -> None:
    """Until the process waits on the pipe."""
    for _ in range(600):
        if "pipe" in Path(f"/proc/{pid}/wchan").read_text():
            return
        subprocess.run(["sleep", "0.05"], check=True)
    pytest.fail("the command never came to print its plan")


def test_a_file_elsewhere_is_a_stack_of_its_own(stack_file: Path, tmp_path: Path) -> None:
    assert "plan of mine" in run("plan", "--config", str(stack_file)).stdout
    other, out = tmp_path / "Pulumi.other.yaml", tmp_path / "out"
    other.write_text(stack_file.read_text())
    assert run("render", "--config", str(stack_file), "--out", str(out)).returncode == 0
    before = {f.name: f.read_bytes() for f in out.iterdir()}
    done = run("render", "--config", str(other), "--out", str(out))
    assert done.returncode == 2
    assert "did not write" in done.stderr
    assert {f.name: f.read_bytes() for f in out.iterdir()} == before
