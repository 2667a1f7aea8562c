"""The whole program rendered, as it stands in the stack files or with a stack file changed."""

from __future__ import annotations

import functools
import itertools
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from headroom.backend.secrets import CONFIG_KEY
from headroom.engine.render import render
from headroom.engine.rendered import Rendered

ROOT = Path(__file__).resolve().parents[2]
Config = dict[str, Any]


@functools.cache
def _stack(stack: str) -> Rendered:
    return render(ROOT, stack)


@pytest.fixture(scope="session")
def rendered() -> Callable[[str], Rendered]:
    """A real stack, rendered once."""
    return _stack


@pytest.fixture(params=["local", "dev", "staging", "prod"])
def stack(request: pytest.FixtureRequest) -> Rendered:
    """Each real stack in turn."""
    return _stack(request.param)


@pytest.fixture
def config() -> Callable[[str], Config]:
    """The `config` of a real stack file, to be changed freely."""

    def read(stack: str) -> Config:
        document: dict[str, Config] = yaml.safe_load((ROOT / f"Pulumi.{stack}.yaml").read_text())
        return document["config"]

    return read


@pytest.fixture
def render_config(tmp_path: Path) -> Callable[..., Rendered]:
    """Render the program with a config of one's own; its passwords come as they do from the cluster or the CLI."""
    number = itertools.count()

    def go(config: Config, stack: str = "dev") -> Rendered:
        file = tmp_path / f"Pulumi.{next(number)}.yaml"
        written = {key: value for key, value in config.items() if key != CONFIG_KEY}
        file.write_text(yaml.safe_dump({"config": written}))
        return render(ROOT, stack, config_file=file, secrets={k: v for k, v in config.items() if k not in written})

    return go


@pytest.fixture
def render_services(render_config: Callable[..., Rendered]) -> Callable[..., Rendered]:
    """Render a stack that has nothing but these services."""

    def go(environment: str = "dev", **services: Config) -> Rendered:
        return render_config(
            {
                "headroom:environment": environment,
                "headroom:namespace": "ml",
                "headroom:services": {
                    key: {"image": f"registry.example/{key}:1.0.0", **value} for key, value in services.items()
                },
            }
        )

    return go


@pytest.fixture
def render_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Rendered]]:
    """Render a program that is a function, in a project of its own."""
    (tmp_path / "Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
    (tmp_path / "Pulumi.test.yaml").write_text("config: {}\n")
    (tmp_path / "__main__.py").write_text("import sys\nsys.modules['program_under_test'].run()\n")

    def go(program: Callable[[], None]) -> Rendered:
        module = types.ModuleType("program_under_test")
        module.run = program  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "program_under_test", module)
        return render(tmp_path, "test")

    yield go
