"""The dashboards' files are what their code says, and Grafana could load them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headroom.capacity import demand, plan
from monitoring import dashboards, panels

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("page", panels.PAGES, ids=lambda page: page.name)
def test_files_are_up_to_date(page: panels.Page) -> None:
    assert dashboards.text(page.name) == panels.text(page), "run make dashboards"


def test_a_file_each() -> None:
    assert {file.stem for file in dashboards.FOLDER.glob("*.json")} == {page.name for page in panels.PAGES}


@pytest.mark.parametrize("page", panels.PAGES, ids=lambda page: page.name)
def test_panels_do_not_lie_on_each_other_and_queries_are_whole(page: panels.Page) -> None:
    made = json.loads(dashboards.text(page.name))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]]
    assert len(places) == len(set(places)) == len(page.panels)
    for panel in made["panels"]:
        assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])
        for target in panel["targets"]:
            assert 'namespace="$namespace"' in target["expr"]
            assert "$in" not in target["expr"].replace("$interval", "")
            assert "$r]" not in target["expr"]


def test_a_stack_gets_those_of_its_parts() -> None:
    only = demand.from_config("one", {"environment": "dev", "services": {"api": {"preset": "mage"}}})
    assert dashboards.of(plan.make(only)) == ["services"]
    every = plan.make(demand.load("local", ROOT / "Pulumi.local.yaml"))
    assert set(dashboards.of(every)) == {page.name for page in panels.PAGES}
