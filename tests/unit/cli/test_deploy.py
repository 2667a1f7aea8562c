"""`up` and `down` on a cluster of the user's: they ask before they act, and tell what they did."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

from headroom.cli import deploy, main
from headroom.engine import select
from headroom.engine.model import Change, Changes, Result
from headroom.ops import delta, history, live_service
from headroom.ops.live_service import Live
from headroom.ops.scale import run as run_scaling

FILE = """\
config:
  headroom:environment: dev
  headroom:namespace: shop
  headroom:services:
    api:
      preset: fastapi
      image: registry.example/api:1.0.0
      demand: {{targetRps: 900, latency: {{p99: {p99}}}}}
      profile: {{rpsPerPod: 100, serviceTime: 8ms}}
"""


class Recorded:
    """An engine that does nothing, and remembers what it was asked to do."""

    name = "recorded"

    def __init__(self) -> None:
        self.acted: list[str] = []

    def preview(self, *_: Any) -> Changes:
        return Changes((Change("create", "ConfigMap", "shop", "x"),))

    def up(self, *_: Any) -> Result:
        self.acted.append("up")
        return Result(Changes(()), 1.0, namespace="shop")

    def down(self, *_: Any, delete_data: str | None = None) -> Result:
        self.acted.append(f"down {delete_data}")
        gone = Changes((Change("delete", "Deployment", "shop", "api"),))
        return Result(gone, 1.0, ("persistentvolumeclaim shop/data",), namespace="shop")


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Recorded:
    made = Recorded()
    monkeypatch.setattr(select, "choose", lambda *_: made)
    return made


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file where a `kubectl` on PATH writes its arguments; it answers nothing."""
    said, program = tmp_path / "calls", tmp_path / "bin" / "kubectl"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" >> {said}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return said


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "Pulumi.mine.yaml"
    written.write_text(FILE.format(p99="100ms"))
    return written


def run(*args: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main.main(list(args))
    return int(ended.value.code or 0)


@pytest.mark.parametrize("command", ["up", "down"])
@pytest.mark.usefixtures("calls")
def test_nobody_is_there_to_be_asked(
    command: str, engine: Recorded, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(command, "--stack", "mine", "--config", str(file), "--context", "theirs") == 2
    assert engine.acted == []
    told = capsys.readouterr().err
    assert "stack mine" in told and "--yes" in told


@pytest.mark.usefixtures("calls")
def test_a_no_changes_nothing(
    engine: Recorded, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no(*_: object, **__: object) -> None:
        raise typer.Abort

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr(typer, "confirm", no)
    assert run("down", "--stack", "mine", "--config", str(file), "--context", "theirs") == 130
    assert engine.acted == []
    assert "nothing was changed" in capsys.readouterr().err


@pytest.mark.parametrize("p99", ["100ms", "30ms"])
def test_what_went_and_what_stays_is_told_also_of_a_stack_that_cannot_work(
    engine: Recorded, calls: Path, file: Path, p99: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FILE.format(p99=p99))
    assert run("down", "--stack", "mine", "--config", str(file), "--context", "theirs", "--yes") == 0
    assert engine.acted == ["down None"]
    told = capsys.readouterr()
    assert "Deployment shop/api" in told.out
    assert "kept, it holds data: persistentvolumeclaim shop/data" in told.out
    assert "headroom down --stack mine --delete-data shop" in told.out
    assert "with --context theirs" in told.err
    assert "delete configmap headroom-history -n shop" in calls.read_text()


@pytest.mark.parametrize(
    "args", [("scale", "nope", "--to", "3", "--because", "x"), ("canary", "abort", "nope"), ("rollback", "nope")]
)
def test_a_service_that_is_not_there_is_told_before_a_cluster_is_missed(
    args: tuple[str, ...], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*args, "--stack", "mine", "--config", str(file), "--name", "nobody-made-this-one") == 2
    assert "no service 'nope'" in capsys.readouterr().err


@pytest.mark.parametrize("option", [("--memory", "3gb"), ("--cpu", "2Gi")])
def test_a_size_that_is_none_is_told_before_a_cluster_is_missed(
    option: tuple[str, str], file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ("api", *option, "--because", "x", "--config", str(file), "--name", "nobody-made-this-one")
    assert run("scale", *given) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert option[0] in told and f"{option[1]} has the unit" in told


@pytest.mark.parametrize("command", ["up", "preview"])
@pytest.mark.parametrize(("p99", "exit_code"), [("30ms", 2), ("100", 2), ("100ms", 1)])
def test_a_stack_that_cannot_work_is_told_before_a_cluster_is_missed(
    command: str, p99: str, exit_code: int, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(FILE.format(p99=p99))
    assert run(command, "--stack", "mine", "--config", str(file), "--name", "nobody-made-this-one") == exit_code
    assert ("is not running" in capsys.readouterr().err) == (exit_code == 1)


def test_a_preview_says_what_the_edit_costs_and_what_is_dangerous_in_it(
    engine: Recorded, calls: Path, file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed = file.read_text()
    recorded = history.Revision(3, "2026-11-22T00:00:00Z", "up", "healthy", deployed, deployed)
    monkeypatch.setattr(history, "read", lambda *_: (recorded,))
    preview = ("preview", "--stack", "mine", "--config", str(file), "--context", "theirs")
    assert run(*preview) == 0
    told = capsys.readouterr().out
    assert "a month" not in told and "fewer pods" not in told
    file.write_text(deployed.replace("targetRps: 900", "targetRps: 300"))
    assert run(*preview) == 0
    told = capsys.readouterr().out
    assert "a month at minimum replicas" in told
    assert "shrink api.maxReplicas shrinks from 14 pods to 5 pods" in " ".join(told.split())
    assert engine.acted == []


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("2Gi", "3Gi", ("2Gi", "3Gi")),
        (None, "x", ("(none)", "x")),
        (
            "same " * 30 + "2 copies",
            "same " * 30 + "3 copies",
            ("…same same same 2 copies", "…same same same 3 copies"),
        ),
        ("a" * 100, "b" * 100, ("a" * 59 + "…", "b" * 59 + "…")),
    ],
)
def test_long_values_are_shown_where_they_differ(before: object, after: object, shown: tuple[str, str]) -> None:
    assert deploy._short(before, after) == shown


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("scale", "api", "--cpu", "-1", "--because", "x"), "'--cpu': -1 is not above 0"),
        (("scale", "api", "--memory", "0Gi", "--because", "x"), "'--memory': 0Gi is not above 0"),
        (("scale", "api", "--to", "9" * 21, "--because", "x"), f"'{'9' * 21}' is more than 100000"),
        (("canary", "start", "api", "--image", ""), "'--image': '' is not an image reference"),
        (("canary", "start", "api", "--image", "api:latest"), "'--image': 'api:latest' the tag `latest` names"),
        (("rollback", "--to", "-1"), "'--to': '-1' is less than 1"),
    ],
)
def test_a_value_that_cannot_be_is_told_before_a_cluster_is_missed(
    args: tuple[str, ...], words: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*args, "--config", str(file), "--name", "nobody-made-this-one") == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_time_that_cannot_be_names_its_option(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan", "--config", str(file), "--in", "12") == 2
    assert "--in '12': has no unit" in capsys.readouterr().err


def test_down_says_when_there_was_no_cluster(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert run("local", "down", "--name", "nothere") == 0
    assert capsys.readouterr().out == "there is no cluster nothere\n"


def test_a_folder_is_no_file_of_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("features", "load", str(tmp_path)) == 2
    told = capsys.readouterr().err
    assert "is a folder" in told and "fix: " in told


@pytest.mark.parametrize(
    ("said", "fix"),
    [
        ('error loading config file "x": yaml: line 1', "set KUBECONFIG to another"),
        ('error: context "theirs" does not exist', "kubectl config get-contexts"),
    ],
)
def test_a_kubeconfig_that_cannot_be_used_comes_with_a_way_out(
    said: str, fix: str, calls: Path, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (calls.parent / "bin" / "kubectl").write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    assert run("verify", "--config", str(file), "--context", "theirs") == 1
    told = capsys.readouterr()
    assert fix in told.out
    assert "as here" not in told.err, "a context that is none is no place to go"


@pytest.mark.parametrize("text", ["- a\n", "words\n", "config: [a]\n", "config: words\n"])
def test_a_file_that_is_no_mapping_comes_with_a_way_out(
    text: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.write_text(text)
    assert run("plan", "--config", str(file)) == 2
    assert "fix: write at least config:" in capsys.readouterr().err


@pytest.mark.parametrize(("ready", "dry_run", "waits"), [(1, False, True), (1, True, False), (3, False, False)])
@pytest.mark.usefixtures("calls")
def test_a_scaling_that_was_stopped_as_it_waited_is_waited_for_again(
    ready: int,
    dry_run: bool,
    waits: bool,
    file: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    live = Live("api", "shop", 3, ready, 3, 5)
    monkeypatch.setattr(run_scaling, "propose", lambda *_: SimpleNamespace(nothing=True, live=live, target=3))
    monkeypatch.setattr(live_service, "find", lambda *_: replace(live, ready=3))
    awaited: list[object] = []
    monkeypatch.setattr(delta, "ready", lambda _, ids, __: awaited.extend(ids))
    options = ["--dry-run"] if dry_run else []
    given = ["api", "--to", "3", "--because", "x", "--config", str(file), "--context", "theirs"]
    assert run("scale", *given, *options) == 0
    assert awaited == [live.deployment] * waits
    told = capsys.readouterr().out
    assert "nothing to change: api is held at 3 pods" in told
    assert ("3 pods ready after" in told) == waits
