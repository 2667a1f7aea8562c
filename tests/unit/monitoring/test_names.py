"""Rules and dashboards ask only for what is emitted; `monitoring/emitted/` says by whom and how that is known."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.metrics_core import Metric

from headroom import project
from headroom.capacity import demand, plan
from headroom.capacity.plan.presets import PRESETS
from inference.metrics import Metrics
from monitoring import rules

ROOT = Path(__file__).resolve().parents[3]
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}
SELECTED = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{")


def families() -> Iterator[Metric]:
    for collector in list(Metrics().registry._collector_to_names):
        yield from getattr(collector, "describe", collector.collect)()


def inference() -> set[str]:
    """What the reference app registers."""
    return {family.name + suffix for family in families() for suffix in SUFFIXES.get(family.type, ())}


def emitted() -> set[str]:
    found = inference()
    for file in (ROOT / "monitoring/emitted").glob("*.txt"):
        head, *lines = file.read_text().splitlines()
        assert re.match(r"# .+: .+", head), f"{file.name} does not say how its names are known"
        found |= set(lines)
    return found


def expressions(node: Any) -> Iterator[str]:
    """Every `expr` of a rule file or a dashboard, at any depth."""
    if isinstance(node, dict):
        if isinstance(node.get("expr"), str):
            yield node["expr"]
        for value in node.values():
            yield from expressions(value)
    if isinstance(node, list):
        for value in node:
            yield from expressions(value)


def asked(node: Any) -> set[str]:
    return {name for expression in expressions(node) for name in SELECTED.findall(expression)}


@pytest.mark.parametrize("stack", project.stack_names(ROOT))
def test_rules(stack: str) -> None:
    wanted = demand.load(stack, project.stack_file(stack, ROOT))
    names = asked(rules.rule_groups(wanted, plan.make(wanted)))
    assert len(names) > 20
    assert names <= emitted(), names - emitted()


@pytest.mark.parametrize("file", sorted((ROOT / "monitoring/dashboards").glob("*.json")), ids=lambda file: file.stem)
def test_dashboards(file: Path) -> None:
    names = asked(json.loads(file.read_text()))
    assert names
    assert names <= emitted(), names - emitted()


def test_what_our_own_app_is_scaled_on_is_what_it_emits() -> None:
    metric = PRESETS["fastapi"].metric
    assert metric is not None
    assert metric[0] in inference()
