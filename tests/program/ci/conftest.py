from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]

# Stands in for GitHub: answers the calls that the workflows make, from a file, and writes down what they change.
GH = """#!{python}
import json, re, sys
from pathlib import Path
state = Path({state!r})
world = json.loads(state.read_text())
args = sys.argv[1:]
def option(*names):
    return next((args[i + 1] for i, a in enumerate(args) if a in names), None)
def body():
    field = option("--field")
    if field is None:
        return option("--body", "--comment")
    key, _, value = field.partition("=")
    return Path(value[1:]).read_text() if value.startswith("@") else value
if args[0] == "api":
    path = next(a for a in args[1:] if a.startswith("repos/"))
    method = option("--method") or "GET"
    if method == "GET":
        marker = re.search(r'startswith\\("(.*?)"\\)', option("--jq"))[1]
        login = re.search(r'login == "(.*?)"', option("--jq"))[1]
        for c in world["comments"]:
            if c["login"] == login and c["body"].startswith(marker):
                print(c["id"])
    elif method == "POST":
        world["comments"].append({{"id": 100 + len(world["comments"]), "login": "github-actions[bot]", "body": body()}})
    elif method == "PATCH":
        next(c for c in world["comments"] if path.endswith("/%d" % c["id"]))["body"] = body()
    elif method == "DELETE":
        world["labels"].remove(path.rpartition("/")[2])
elif args[:2] == ["issue", "list"]:
    title = re.search(r'title == "(.*?)"', option("--jq"))[1]
    for i in world["issues"]:
        if i["title"] == title and i["open"]:
            print(i["number"])
elif args[:2] == ["issue", "create"]:
    number = len(world["issues"]) + 1
    world["issues"].append({{"number": number, "title": option("--title"), "open": True, "said": [body()]}})
elif args[:2] in (["issue", "comment"], ["issue", "close"]):
    issue = next(i for i in world["issues"] if i["number"] == int(args[2]))
    issue["said"].append(body())
    issue["open"] = args[1] == "comment"
else:
    sys.exit("unexpected: %r" % args)
state.write_text(json.dumps(world))
"""


@pytest.fixture
def step() -> Callable[[str, str, str], str]:
    """The script of a step, as a runner would get it."""

    def find(workflow: str, job: str, name: str) -> str:
        flow = YAML(typ="safe").load((ROOT / ".github" / "workflows" / workflow).read_text())
        return next(str(s["run"]) for s in flow["jobs"][job]["steps"] if s.get("name") == name)

    return find


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """What GitHub holds: `world()` reads it, `world(comments=[…])` changes it."""
    file = tmp_path / "github.json"
    file.write_text(json.dumps({"comments": [], "issues": [], "labels": []}))

    def access(**change: Any) -> dict[str, Any]:
        held: dict[str, Any] = {**json.loads(file.read_text()), **change}
        file.write_text(json.dumps(held))
        return held

    return access


@pytest.fixture
def run(tmp_path: Path, world: Callable[..., dict[str, Any]]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a step's script the way the runner does, in a folder of its own, with `gh` standing in for GitHub."""
    programs = tmp_path / "bin"
    programs.mkdir()
    gh = programs / "gh"
    gh.write_text(GH.format(python=sys.executable, state=str(tmp_path / "github.json")))
    gh.chmod(0o755)
    summary = tmp_path / "summary.md"
    folder = tmp_path / "work"
    folder.mkdir()
    world()

    def go(script: str, *, where: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-c", script],
            cwd=where or folder,
            env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "GITHUB_STEP_SUMMARY": str(summary), **env},
            capture_output=True,
            text=True,
            check=False,
        )

    return go
