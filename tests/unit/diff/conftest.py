from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from headroom.ops.diff.model import Line, Rendered, Snapshot


@pytest.fixture
def thing() -> Callable[..., Rendered]:
    """An object: `thing("StatefulSet", "pg", spec={...})`."""

    def make(kind: str, name: str = "x", *, namespace: str = "ml", **fields: Any) -> Rendered:
        options = {k: fields.pop(k) for k in ("urn", "aliases", "replace_on_changes", "retain") if k in fields}
        metadata = {"name": name, "namespace": namespace, "labels": {"app": name}, **fields.pop("metadata", {})}
        return Rendered({"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}, **options)

    return make


@pytest.fixture
def line() -> Callable[..., Line]:
    def make(
        setting: str, value: Any, *, component: str = "inference", unit: str = "", bound: str = "throughput"
    ) -> Line:
        return Line(component, setting, value, unit, f"formula of {setting}", bound)

    return make


@pytest.fixture
def snapshot() -> Callable[..., Snapshot]:
    def make(*objects: Rendered, lines: tuple[Line, ...] = (), stack: str = "prod") -> Snapshot:
        return Snapshot(stack, lines, (), objects)

    return make
