"""Small programs in a folder of their own, rendered as a stack of the project would be."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from headroom.engine.render import render
from headroom.engine.rendered import Rendered

Make = Callable[..., Rendered]

HEADER = """
import pulumi
import pulumi_kubernetes as k8s
from pulumi import ResourceOptions as Options

config = pulumi.Config()

def configmap(name, opts=None, /, **data):
    return k8s.core.v1.ConfigMap(name, metadata={"name": name, "namespace": "ml"}, data=data, opts=opts)

class Group(pulumi.ComponentResource):
    def __init__(self, name, *children, opts=None):
        super().__init__("test:index:Group", name, None, opts)
        self.children = [configmap(f"{name}-{child}", Options(parent=self)) for child in children]
        self.register_outputs({})
"""


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """`make(program, config=…, files=…, secrets=…)` writes a project and renders its stack `test`."""

    def rendered(
        program: str, *, config: str = "{}", files: Mapping[str, str] | None = None, secrets: Any = None
    ) -> Rendered:
        project = tmp_path / "project"
        project.mkdir(exist_ok=True)
        (project / "Pulumi.yaml").write_text("name: headroom\nruntime: python\n")
        (project / "Pulumi.test.yaml").write_text(textwrap.dedent(f"config: {config}\n"))
        (project / "__main__.py").write_text(HEADER + textwrap.dedent(program))
        for name, text in (files or {}).items():
            (project / name).write_text(textwrap.dedent(text))
        return render(project, "test", secrets=secrets)

    return rendered
