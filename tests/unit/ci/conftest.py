from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[3]
ACTIONLINT = "v1.7.12"


@pytest.fixture(scope="session")
def workflows() -> dict[str, dict[str, Any]]:
    """Every workflow by its file name. YAML 1.2, so that `on` stays a word."""
    folder = ROOT / ".github" / "workflows"
    return {file.name: YAML(typ="safe").load(file.read_text()) for file in sorted(folder.glob("*.yml"))}


@pytest.fixture(scope="session")
def actionlint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The actionlint program: on PATH, or built once with Go into the cache."""
    if found := shutil.which("actionlint"):
        yield found
        return
    cache = Path(os.environ.get("HEADROOM_CACHE") or Path.home() / ".cache" / "headroom") / "tools"
    program = cache / f"actionlint-{ACTIONLINT}"
    if not program.is_file():
        if not shutil.which("go"):
            pytest.skip("actionlint is not on PATH, and there is no Go to build it")
        place = tmp_path_factory.mktemp("actionlint")
        module = f"github.com/rhysd/actionlint/cmd/actionlint@{ACTIONLINT}"
        done = subprocess.run(
            ["go", "install", module],
            env={**os.environ, "GOBIN": str(place)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            pytest.skip(f"actionlint cannot be built here: {done.stderr.strip().splitlines()[-1:]}")
        cache.mkdir(parents=True, exist_ok=True)
        shutil.copy2(place / "actionlint", cache / f".{os.getpid()}")
        (cache / f".{os.getpid()}").replace(program)
    yield str(program)
