"""Moving a stack, against a `pulumi` that keeps its backends as files: what is asked of it, in which order, and what is
left when it fails. The real CLI does the same in tests/engine/backend."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headroom.backend import migrate as migration
from headroom.errors import EnvironmentFailure

S3 = "s3://team-state?region=eu-west-1"
KMS = "awskms://alias/headroom-team-state?region=eu-west-1"
PASSWORD = "hunter2-hunter2"

STACK_FILE = """\
# Who asks may change this.
encryptionsalt: v1:salt
config:
  headroom:environment: dev # the small one
  headroom:secrets:
    redisApp: {secure: "passphrase|hunter2-hunter2"}
"""

# A backend is a JSON file named after its URL. "Encrypted by P" is "P|value".
FAKE = """\
#!{python}
import json, os, pathlib, re, sys
from ruamel.yaml import YAML

args, root = sys.argv[1:], pathlib.Path({root!r})
with open(root / "calls", "a") as log:
    log.write(json.dumps([os.environ.get("PULUMI_BACKEND_URL"), *args]) + "\\n")
store = root / re.sub(r"\\W", "_", os.environ.get("PULUMI_BACKEND_URL") or "current")
stacks = json.loads(store.read_text()) if store.exists() else {{}}
words = [a for a in args if not a.startswith("--")]
fault = (root / "fault").read_text() if (root / "fault").exists() else ""
if fault and fault == " ".join(words[:2]) + (" in new" if "s3" in store.name else ""):
    sys.exit("error: could not do that")
name = args[args.index("--stack") + 1] if "--stack" in args else words[2] if len(words) > 2 else None
file, yaml = pathlib.Path("Pulumi.dev.yaml"), YAML()
document = yaml.load(file)

def save():
    store.write_text(json.dumps(stacks))

def mapped(value, change):
    if isinstance(value, dict):
        if "secure" in value:
            return change(value["secure"])
        return {{k: mapped(v, change) for k, v in value.items()}}
    return [mapped(v, change) for v in value] if isinstance(value, list) else value

def again(provider):
    return lambda old: {{"secure": provider + "|" + old.split("|", 1)[1]}}

if words[:2] == ["stack", "ls"]:
    print(json.dumps([{{"name": "organization/headroom/" + n}} for n in stacks]))
elif words[:2] == ["stack", "init"]:
    stacks[name] = {{"manifest": {{"time": str(len(stacks))}}}}
    save()
elif words[:2] == ["stack", "export"]:
    if name not in stacks:
        sys.exit("error: no stack named 'dev' found")
    state = mapped(stacks[name], lambda s: s.split("|", 1)[1]) if "--show-secrets" in args else stacks[name]
    print(json.dumps({{"version": 3, "deployment": state}}))
elif words[:2] == ["stack", "import"]:
    stacks[name] = json.load(sys.stdin)["deployment"]
    if fault == "lose a resource":
        stacks[name]["resources"].pop()
    if fault == "change a value":
        stacks[name]["resources"][-1]["outputs"]["port"] = 1
    stacks[name]["manifest"] = {{"time": "later"}}
    save()
elif words[:2] == ["stack", "change-secrets-provider"]:
    stacks[name], config = mapped(stacks[name], again(words[2])), mapped(document["config"], again(words[2]))
    document["config"] = config
    document.pop("encryptionsalt", None)
    if words[2] != "passphrase":
        document["secretsprovider"] = words[2]
    else:
        document.pop("secretsprovider", None)
    if fault == "forget the config":
        document["config"]["headroom:secrets"] = {{}}
    yaml.dump(document, file)
    save()
elif words[:1] == ["config"]:
    flat = mapped(document["config"], lambda s: s.split("|", 1)[1])
    print(json.dumps({{k: {{"value": json.dumps(v)}} for k, v in flat.items()}}))
elif words[:2] == ["stack", "rm"]:
    del stacks[name]
    save()
else:
    sys.exit("unknown: " + " ".join(args))
"""


def resources() -> list[dict[str, Any]]:
    return [
        {"urn": "urn:pulumi:dev::headroom::pulumi:pulumi:Stack::headroom-dev", "outputs": {}},
        {"urn": "urn:pulumi:dev::headroom::app::redis", "outputs": {"p": {"secure": f"passphrase|{PASSWORD}"}}},
        {"urn": "urn:pulumi:dev::headroom::app::api", "outputs": {"port": 6379}},
    ]


class World:
    """A project with one stack, logged in to a backend, and the fake CLI on PATH."""

    def __init__(self, root: Path) -> None:
        self.root, self.file = root, root / "project" / "Pulumi.dev.yaml"
        self.file.parent.mkdir()
        (self.file.parent / "Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
        self.file.write_text(STACK_FILE)
        (root / "bin").mkdir()
        (root / "bin" / "pulumi").write_text(FAKE.format(python=sys.executable, root=str(root)))
        (root / "bin" / "pulumi").chmod(0o755)
        (root / "current").write_text(json.dumps({"dev": {"manifest": {"time": "0"}, "resources": resources()}}))

    def stacks(self, url: str | None = S3) -> dict[str, Any]:
        store = self.root / ("current" if url is None else "".join(c if c.isalnum() or c == "_" else "_" for c in url))
        stacks: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
        return stacks

    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.root / "calls").read_text().splitlines()]

    def fault(self, name: str) -> None:
        (self.root / "fault").write_text(name)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    monkeypatch.chdir(made.file.parent)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PULUMI_BACKEND_URL", raising=False)
    return made


@pytest.fixture
def move(world: World, notes: Any) -> Callable[..., migration.Moved]:
    def move(**changed: Any) -> migration.Moved:
        asked = {"source": None, "target": S3, "secrets_provider": KMS, **changed}
        return migration.migrate("dev", progress=notes, **asked)

    return move


def test_a_stack_moves_with_its_secrets_and_the_old_state_stays(world: World, move: Any) -> None:
    old = world.stacks(None)
    moved = move()
    assert (moved.resources, moved.config_values) == (3, 2)
    [_, redis, _] = world.stacks()["dev"]["resources"]
    assert redis["outputs"] == {"p": {"secure": f"{KMS}|{PASSWORD}"}}
    assert world.stacks(None) == old
    text = world.file.read_text()
    assert f"secretsprovider: {KMS}" in text
    assert "encryptionsalt" not in text
    assert text.startswith("# Who asks may change this.\n")
    assert sorted(p.name for p in world.file.parent.iterdir()) == ["Pulumi.dev.yaml", "Pulumi.yaml"]


def test_it_moves_back_as_it_was(world: World, move: Any) -> None:
    move()
    home = "file:///home/me"
    moved = move(source=S3, target=home, secrets_provider="passphrase")
    assert moved.resources == 3
    assert world.stacks(home)["dev"]["resources"] == resources()
    assert "secretsprovider" not in world.file.read_text()


def test_no_secret_is_ever_in_an_argument_and_no_clear_state_on_disk(world: World, move: Any) -> None:
    move()
    assert PASSWORD not in json.dumps(world.calls())
    imported = [call for call in world.calls() if call[1:3] == ["stack", "import"]]
    assert [("--file" in call, call[0]) for call in imported] == [(False, S3)]


def test_a_dry_run_only_reads(world: World, move: Any) -> None:
    assert move(dry_run=True).resources == 3
    assert {tuple(call[1:3]) for call in world.calls()} == {("stack", "export"), ("config", "--stack")}
    assert world.file.read_text() == STACK_FILE


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("lose a resource", "differs in urn:pulumi:dev::headroom::app::api"),
        ("change a value", "differs in urn:pulumi:dev::headroom::app::api"),
        ("forget the config", "differs in headroom:secrets"),
        ("stack import in new", "pulumi stack import failed: error: could not do that"),
        ("stack change-secrets-provider in new", "pulumi stack change-secrets-provider failed"),
        ("stack init in new", "pulumi stack init failed"),
        ("stack ls in new", "pulumi stack ls failed"),
        ("stack export", "pulumi stack export failed"),
    ],
)
def test_a_move_that_fails_leaves_everything_as_it_was_and_can_be_repeated(
    world: World, move: Any, fault: str, reason: str
) -> None:
    old = world.stacks(None)
    world.fault(fault)
    with pytest.raises(EnvironmentFailure) as caught:
        move()
    assert reason in caught.value.message
    assert PASSWORD not in str(caught.value)
    assert world.file.read_text() == STACK_FILE
    assert world.stacks(None) == old
    assert world.stacks() == {}
    world.fault("")
    assert move().resources == 3


def test_a_target_with_another_state_of_that_name_is_left_alone(world: World, move: Any) -> None:
    move()
    world.file.write_text(STACK_FILE)
    there = world.stacks()
    there["dev"]["resources"].pop()
    (world.root / "s3___team_state_region_eu_west_1").write_text(json.dumps(there))
    with pytest.raises(EnvironmentFailure, match="holds another state of dev already"):
        move()
    assert world.stacks() == there


def test_a_move_that_was_killed_before_its_end_is_ended_by_the_next(world: World, move: Any) -> None:
    move()
    world.file.write_text(STACK_FILE)  # as if killed after the copy, before the stack file
    assert move().resources == 3
    assert f"secretsprovider: {KMS}" in world.file.read_text()


def test_a_stack_that_is_not_where_it_should_be_is_said(world: World, move: Any) -> None:
    with pytest.raises(EnvironmentFailure, match="no stack named") as caught:
        move(source="file:///elsewhere")
    assert "pulumi stack init" in caught.value.fix
