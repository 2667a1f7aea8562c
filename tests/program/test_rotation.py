"""What `secrets rotate` says will roll is what rolls: each password changed in turn, pod templates compared."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from headroom import project
from headroom.backend import secrets
from headroom.engine.render import render

ROOT = Path(__file__).resolve().parents[2]
WORKLOADS = ("Deployment", "StatefulSet")


def templates(values: dict[str, str]) -> dict[str, object]:
    rendered = render(ROOT, "local", secrets={secrets.CONFIG_KEY: values})
    return {
        o.manifest["metadata"]["name"]: o.manifest["spec"]["template"]
        for o in rendered.objects
        if o.manifest["kind"] in WORKLOADS
    }


@pytest.fixture(scope="module")
def values() -> dict[str, str]:
    return {name: f"{name}-0123456789abcdefghijklmnopqrst" for name in secrets.REQUIRED}


@pytest.fixture(scope="module")
def before(values: dict[str, str]) -> dict[str, object]:
    return templates(values)


@pytest.mark.parametrize("name", secrets.REQUIRED)
def test_what_is_said_to_roll_rolls(name: str, values: dict[str, str], before: dict[str, object]) -> None:
    after = templates({**values, name: values[name][::-1]})
    rolled = {workload for workload, template in after.items() if template != before[workload]}
    said = secrets.read(project.stack_file("local", ROOT)).rolls(name)
    assert {w for w in before if any(fnmatch(w, pattern) for pattern in said)} == rolled
