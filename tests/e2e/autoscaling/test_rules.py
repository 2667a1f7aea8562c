"""The alert rules on a live Prometheus: the stack `local` emits what they ask for, and none holds while all is well.

Without H2O, which emits nothing of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
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

NAMESPACE = "headroom"
# What is not installed here: kube-state-metrics, cert-manager, KEDA.
ELSEWHERE = re.compile(r"kube_.+|certmanager_.+|keda_.+")
# A histogram has no buckets before its first request.
LATER = re.compile(r"http_.+|feature_.+|redis_cluster_.+")
# The embedded cluster's volumes are folders, so these tell of this machine's own disk.
MACHINE = ("VolumeNearlyFull", "VolumeFillsUp", "VolumeInodesNearlyGone")


@dataclass(frozen=True)
class Live:
    """The stack, and its alerts as they would be deployed."""

    kubectl: Kubectl
    alerts: list[dict[str, Any]]


@pytest.fixture(scope="module")
def live(cluster: local.Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    addons.install(cluster, [addons.Addon.monitoring])
    stack = yaml.safe_load(project.stack_file("local").read_text())
    del stack["config"]["headroom:h2o"]
    file: Path = tmp_path_factory.mktemp("rules") / "Pulumi.local.yaml"
    file.write_text(yaml.safe_dump(stack))
    asked = demand.load("local", file)
    alerts = [rule for group in rules.rule_groups(asked, plan.make(asked)) for rule in group["rules"]]
    where = ["--stack", "local", "--name", cluster.name, "--config", str(file)]
    done = CliRunner().invoke(application(), ["up", *where])
    try:
        assert done.exit_code == 0, done.output
        yield Live(Target.of(cluster).kubectl, alerts)
    finally:
        CliRunner().invoke(application(), ["down", *where, "--delete-data", NAMESPACE])


def test_what_the_rules_ask_for_is_scraped(live: Live, eventually: Callable[..., float]) -> None:
    found = {name for rule in live.alerts for name in re.findall(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\{", rule["expr"])}
    wanted = {name for name in found if not ELSEWHERE.fullmatch(name) and not LATER.fullmatch(name)}
    assert len(wanted) > 20

    def missing() -> set[str]:
        any_of = "|".join(sorted(wanted))
        asked = f'count by (__name__) ({{__name__=~"{any_of}",namespace="{NAMESPACE}"}})'
        return wanted - {sample.labels["__name__"] for sample in prometheus.query(live.kubectl, asked)}

    eventually(lambda: not missing(), 120, lambda: f"not scraped: {sorted(missing())}")


def test_no_alert_holds_on_a_healthy_stack(live: Live, eventually: Callable[..., float]) -> None:
    def holding() -> list[str]:
        asked = (r for r in live.alerts if r["alert"] not in MACHINE)
        return [rule["alert"] for rule in asked if prometheus.query(live.kubectl, rule["expr"])]

    eventually(lambda: not holding(), 180, lambda: f"these hold: {holding()}")
