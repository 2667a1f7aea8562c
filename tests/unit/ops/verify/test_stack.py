"""What `headroom verify` says of a stack that is well, and of each thing that can be wrong with it."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from headroom.capacity import plan as plans
from headroom.capacity.demand import load
from headroom.capacity.plan.buckets import owners
from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops import inside, reshard
from headroom.ops.verify import Finding, Scene, Verdict, buckets, h2o, postgres, services, workloads

PLAN = plans.make(load("local", Path("Pulumi.local.yaml")))
SCENE = Scene(PLAN, Kubectl(Path("kubectl"), Path("kubeconfig")), real_pods=True)
SHARDS = PLAN.postgres.shards.value if PLAN.postgres else 0


def failed(found: Iterator[Finding]) -> set[tuple[str, str]]:
    every = list(found)
    assert every
    assert all(bool(f.fix) is (f.verdict is Verdict.failed) for f in every)
    return {(f.component, f.check) for f in every if f.verdict is not Verdict.passed}


@pytest.mark.parametrize(
    ("primaries", "standbys", "wrong"),
    [
        ({0}, ["streaming|sync|128"], set()),
        ({0}, ["streaming|quorum|16777216"], set()),
        (set(), [], {"one primary"}),
        ({0, 1}, ["streaming|sync|128"], {"one primary"}),
        ({0}, [], {"replication"}),
        ({0}, ["catchup|sync|128"], {"replication"}),
        ({0}, ["streaming|async|128"], {"replication"}),
        ({0}, ["streaming|sync|16777217"], {"replication"}),
        ({0}, ["streaming|sync|128", "streaming|async|99999999"], {"replication"}),
        ({0}, ["streaming|sync|128", "streaming|async|0"], {"replication"}),
    ],
)
def test_a_shard(monkeypatch: pytest.MonkeyPatch, primaries: set[int], standbys: list[str], wrong: set[str]) -> None:
    def sql(_kubectl: Kubectl, _namespace: str, pod: str, _database: str, statement: str) -> str:
        if "pg_is_in_recovery" in statement:
            return "f" if int(pod[-1]) in primaries else "t"
        return "\n".join(f"{pod[:-1]}{n + 1}|{row}" for n, row in enumerate(standbys))

    def items(_self: Kubectl, _kind: str, _namespace: str, selector: str = "") -> list[dict[str, Any]]:
        name = selector.removeprefix("app=")
        return [{"metadata": {"name": f"{name}-{n}"}, "status": {"phase": "Running"}} for n in range(2)]

    monkeypatch.setattr(inside, "sql", sql)
    monkeypatch.setattr(Kubectl, "items", items)
    assert failed(postgres.shards(SCENE)) == {(f"pg-shard-{n}", check) for n in range(SHARDS) for check in wrong}


def test_a_primary_that_falls_silent_hides_no_other_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    def sql(_kubectl: Kubectl, _namespace: str, pod: str, _database: str, statement: str) -> str:
        if "pg_is_in_recovery" in statement:
            return "f"
        raise EnvironmentFailure(f"{pod} gives no answer")

    def items(_self: Kubectl, _kind: str, _namespace: str, selector: str = "") -> list[dict[str, Any]]:
        return [{"metadata": {"name": f"{selector.removeprefix('app=')}-0"}, "status": {"phase": "Running"}}]

    monkeypatch.setattr(inside, "sql", sql)
    monkeypatch.setattr(Kubectl, "items", items)
    assert failed(postgres.shards(SCENE)) == {(f"pg-shard-{n}", "replication") for n in range(SHARDS)}


@pytest.mark.parametrize(
    ("answer", "words"), [("refused", "503"), ("silent", "within 20 s"), ("well", "GET /live: ok")]
)
def test_health_is_told_of_each_service_by_its_name(monkeypatch: pytest.MonkeyPatch, answer: str, words: str) -> None:
    probe = {"readinessProbe": {"httpGet": {"port": 8080, "path": "/live"}}}
    live = {"spec": {"template": {"spec": {"containers": [probe]}}}}

    def raw(_self: Kubectl, path: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
        if answer == "silent":
            raise EnvironmentFailure(f"kubectl get got no answer within {timeout} s")
        return subprocess.CompletedProcess(path, int(answer == "refused"), "ok", "503 from upstream")

    monkeypatch.setattr(Kubectl, "find", lambda *_: live)
    monkeypatch.setattr(Kubectl, "raw", raw)
    found = list(services.health(SCENE))
    assert [f.component for f in found] == [s.key for s in PLAN.services]
    assert all(words in f.evidence for f in found)
    assert all((f.verdict is Verdict.passed) is (answer == "well") for f in found)


@pytest.mark.parametrize(
    ("slices", "well"),
    [
        ([{"endpoints": [{"conditions": {"ready": True}}]}], True),
        ([{"endpoints": [{"conditions": {"ready": False}}]}, {"endpoints": [{"conditions": {"ready": True}}]}], True),
        ([{"endpoints": [{"conditions": {"ready": False}}]}], False),
        ([{"endpoints": None}], False),
        ([], False),
    ],
)
def test_endpoints(monkeypatch: pytest.MonkeyPatch, slices: list[dict[str, Any]], well: bool) -> None:
    monkeypatch.setattr(Kubectl, "items", lambda *_: slices)
    wrong = set() if well else {(s.key, "endpoints") for s in PLAN.services}
    assert failed(services.endpoints(SCENE)) == wrong


@pytest.mark.parametrize(("nodes", "words"), [(0, "0 nodes behind"), (1, "1 node behind"), (2, "2 nodes behind")])
def test_the_leader_of_h2o_is_alone_behind_its_service(monkeypatch: pytest.MonkeyPatch, nodes: int, words: str) -> None:
    assert PLAN.h2o is not None
    monkeypatch.setattr(Kubectl, "items", lambda *_: [{"endpoints": [{"conditions": {"ready": True}}] * nodes}])
    found = h2o._leader(SCENE, PLAN.h2o)
    assert words in found.evidence
    assert (found.verdict is Verdict.passed) is (nodes == 1)


ROLLED_OUT = {
    "metadata": {"generation": 3},
    "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2},
}


def without_status(deployment: dict[str, Any]) -> None:
    del deployment["status"]


@pytest.mark.parametrize(
    ("change", "well"),
    [
        (lambda _: None, True),
        (lambda d: d["status"].update(observedGeneration=2), False),
        (lambda d: d["status"].update(updatedReplicas=1), False),
        (lambda d: d["status"].update(replicas=3), False),
        (lambda d: d["status"].update(readyReplicas=1), False),
        (without_status, False),
        (None, False),
    ],
)
def test_a_rollout(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[dict[str, Any]], object] | None, well: bool
) -> None:
    found = deepcopy(ROLLED_OUT) if change else None
    if change and found:
        change(found)
    monkeypatch.setattr(Kubectl, "find", lambda *_: found)
    wrong = set() if well else {(s.key, "rollout") for s in PLAN.services}
    assert failed(workloads.rollouts(SCENE)) == wrong


@pytest.mark.parametrize(("planned", "first"), [(True, Verdict.passed), (False, Verdict.skipped)])
def test_without_the_map_of_shard_0_the_other_checks_stay_in_the_table(
    monkeypatch: pytest.MonkeyPatch, planned: bool, first: Verdict
) -> None:
    def silent(*_: Any) -> reshard.State:
        raise EnvironmentFailure("shard 0 has no primary that answers")

    told = json.dumps({"buckets": list(owners(SHARDS if planned else SHARDS + 1))})
    monkeypatch.setattr(Kubectl, "find", lambda *_: {"data": {"map.json": told}})
    monkeypatch.setattr(reshard, "state", silent)
    found = {(f.component, f.check): f.verdict for f in buckets.buckets(SCENE)}
    assert found == {
        ("postgres", "first map"): first,
        ("postgres", "bucket map"): Verdict.failed,
        ("postgres", "moves"): Verdict.skipped,
        **{(f"pg-shard-{n}", "fences"): Verdict.skipped for n in range(SHARDS)},
    }
