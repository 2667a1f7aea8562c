"""The checklist of a change: made from the plan and the diff, ticked by what is live, and never by hope."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headroom.capacity.demand import from_config
from headroom.cli.checklist import markdown
from headroom.ops.checklist import Group, Item, Mark, compose
from headroom.ops.checklist.live import Facts
from headroom.ops.diff.model import Danger, Line, SettingChange, StackDiff
from headroom.ops.doctor import diagnose
from headroom.ops.doctor.snapshot import PodTraffic, Traffic
from headroom.ops.verify import Finding, Verdict

POOLING = (Finding("pgbouncer-x", "limits", Verdict.passed, "as planned"),)
QUIET = StackDiff("local")


def facts(lab: Any, seen: Any = None, pooling: tuple[Finding, ...] = POOLING, revision: str = "revision 3") -> Facts:
    seen = seen or lab.healthy()
    return Facts(seen, diagnose(seen, lab.plan()), pooling, revision)


def listed(lab: Any, found: Facts | None, diff: StackDiff = QUIET, plan: Any = None) -> dict[str, Item]:
    made = compose(plan or lab.plan(), from_config("local", lab.config), diff, found, base="a1b2c3d")
    return {item.what: item for item in made.items}


def test_a_deployed_stack_ticks_what_it_can(lab: Any) -> None:
    items = listed(lab, facts(lab))
    open_ = {what for what, item in items.items() if item.mark is not Mark.done}
    # Without load nobody can say that the load test is done or the latency met; and watching is a person's.
    assert open_ == {"inference: load test done", "inference: p99 of 250 ms met", "watched for a while"}
    assert "throughput decides" in items["inference: bottleneck identified"].evidence
    assert items["inference: HPA configured"].evidence == "2 to 3 pods"
    assert items["inference: thread pool configured"].evidence == "4 threads"
    assert items["StatefulSet redis configured"].evidence == "3 pods"
    assert items["rollback planned"].evidence == "back to revision 3"


def test_without_a_cluster_only_the_plan_ticks(lab: Any) -> None:
    items = listed(lab, None)
    done = {what for what, item in items.items() if item.mark is Mark.done}
    assert done == {
        "inference: bottleneck identified",
        "inference: trigger defined",
        "inference: target replicas",
        "inference: resource limits",
        "cost projected",
    }
    assert all(item.command for item in items.values() if item.mark is not Mark.done)


@pytest.mark.parametrize(("p99", "mark"), [(0.2, Mark.done), (0.3, Mark.failed), (None, Mark.open)])
def test_load_decides_on_the_latency(lab: Any, p99: float | None, mark: Mark) -> None:
    pods = [p["metadata"]["name"] for p in lab.healthy().pods if p["metadata"]["name"].startswith("inference-")]
    flow = Traffic("inference", 60, tuple(PodTraffic(p, 65, 0) for p in pods), p99, 0.25, 150)
    seen = replace(lab.healthy(), traffic={"inference": flow})
    items = listed(lab, facts(lab, seen))
    assert items["inference: load test done"].mark is Mark.done
    assert "130 of 150 requests/s" in items["inference: load test done"].evidence
    assert items["inference: p99 of 250 ms met"].mark is mark


def test_what_is_not_deployed_yet_is_open_with_its_command(lab: Any) -> None:
    def more(config: dict[str, Any]) -> None:
        config["headroom:services"]["inference"]["demand"]["targetRps"] = 250
        config["headroom:services"]["inference"]["profile"]["workerThreads"] = 3

    items = listed(lab, facts(lab), plan=lab.plan(more))
    hpa, threads = items["inference: HPA configured"], items["inference: thread pool configured"]
    assert (hpa.mark, hpa.evidence) == (Mark.open, "live 2 to 3 pods, planned 2 to 4 pods")
    assert (threads.mark, threads.evidence) == (Mark.open, "live 4 threads, planned 3 threads")
    assert hpa.command == "headroom up --stack local"


def test_a_blind_trigger_and_a_sick_stack_are_no_ticks(lab: Any) -> None:
    items = listed(lab, facts(lab, lab.with_autoscaler("nometric-hpa")))
    assert items["inference: trigger defined"].mark is Mark.failed
    assert "nothing serves custom.metrics.k8s.io" in items["inference: trigger defined"].evidence
    well = items["the stack is well before it is changed"]
    assert (well.mark, well.evidence) == (Mark.failed, "no-metrics-api")
    assert items["nothing is wrong"].mark is Mark.failed


def test_a_pooler_off_its_plan_is_open(lab: Any) -> None:
    off = (Finding("pgbouncer-x", "limits", Verdict.failed, "default_pool_size is 5, planned 20"),)
    item = listed(lab, facts(lab, pooling=off))["pooling configured"]
    assert item.mark is Mark.open
    assert "default_pool_size is 5" in item.evidence


def test_dangers_and_only_changed_services_are_listed(lab: Any) -> None:
    line = Line("inference", "maxReplicas", 3, "pods", "", "throughput")
    diff = StackDiff(
        "local",
        settings=(SettingChange("inference", "maxReplicas", line, replace(line, value=4)),),
        dangers=(Danger("data", "StatefulSet headroom/redis", "is replaced"),),
    )
    items = listed(lab, facts(lab), diff)
    accepted = items["accepted: StatefulSet headroom/redis is replaced"]
    assert accepted.mark is Mark.open
    assert "3 pods → 4 pods maxReplicas" in items["inference: target replicas"].evidence


def test_nothing_on_the_cluster_is_well_enough_to_begin(lab: Any) -> None:
    empty = replace(
        lab.healthy(), deployments=(), stateful_sets=(), pods=(), autoscalers=(), postgres=(), h2o=(), redis=()
    )
    items = listed(lab, facts(lab, empty, revision=""))
    assert items["the stack is well before it is changed"].mark is Mark.done
    assert items["rollback planned"].mark is Mark.open


def test_markdown_is_a_task_list_that_shows_no_markup_of_others(lab: Any) -> None:
    diff = StackDiff("local", dangers=(Danger("data", "Secret x", "is **gone** <b>"),))
    text = markdown(compose(lab.plan(), from_config("local", lab.config), diff, None, base="main"))
    assert text.startswith("### Checklist: local, compared with main")
    assert "- [x] inference: bottleneck identified" in text
    assert "- [ ] rollback planned" in text
    assert "<b>" not in text
    assert all(f"**{group}**" in text for group in Group)
