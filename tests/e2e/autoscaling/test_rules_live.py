"""The stack `local` on real pods: what the rules ask for is there, and none of them holds while all is well."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headroom import local, project
from headroom.capacity import demand, plan
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.kubectl import Kubectl
from headroom.local import addons
from headroom.ops import prometheus
from monitoring import rules

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[3]
NAMESPACE = "headroom"
# Not run here, or not with CPU alone to scale on.
ELSEWHERE = re.compile(r"kube_.+|certmanager_.+|keda_.+")
# A histogram has no buckets before its first request, a local volume none of the kubelet's figures.
LATER = re.compile(r"http_.+|feature_.+|kubelet_volume_stats_.+|redis_cluster_.+")


@pytest.fixture(scope="module")
def stack(cluster: local.Cluster) -> Iterator[Kubectl]:
    addons.install(cluster, [addons.Addon.monitoring])
    named = ["--stack", "local", "--name", cluster.name]
    done = CliRunner().invoke(application(), ["up", *named])
    try:
        assert done.exit_code == 0, done.output
        yield Target.of(cluster).kubectl
    finally:
        CliRunner().invoke(application(), ["down", *named, "--delete-data", NAMESPACE])


def alerts() -> list[dict[str, Any]]:
    asked = demand.load("local", project.stack_file("local", ROOT))
    return [rule for group in rules.rule_groups(asked, plan.make(asked)) for rule in group["rules"]]


def test_what_rules_ask_for_is_scraped(stack: Kubectl, eventually: Callable[..., float]) -> None:
    found = {name for rule in alerts() for name in re.findall(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{", rule["expr"])}
    wanted = {name for name in found if not ELSEWHERE.fullmatch(name) and not LATER.fullmatch(name)}
    assert len(wanted) > 20

    def missing() -> set[str]:
        any_of = "|".join(sorted(wanted))
        asked = f'count by (__name__) ({{__name__=~"{any_of}",namespace="{NAMESPACE}"}})'
        return wanted - {sample.labels["__name__"] for sample in prometheus.query(stack, asked)}

    eventually(lambda: not missing(), 120, lambda: f"not scraped: {sorted(missing())}")


def test_no_alert_holds_on_a_healthy_stack(stack: Kubectl, eventually: Callable[..., float]) -> None:
    def holding() -> list[str]:
        return [rule["alert"] for rule in alerts() if prometheus.query(stack, rule["expr"])]

    eventually(lambda: not holding(), 180, lambda: f"these hold: {holding()}")
