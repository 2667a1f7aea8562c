"""Taking the snapshot: each question alone, none that stops the others, nothing secret in what is kept."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from headroom.errors import EnvironmentFailure
from headroom.kubectl import Kubectl
from headroom.ops import doctor
from headroom.ops.doctor import traffic
from headroom.ops.doctor.collect import collect
from headroom.ops.doctor.snapshot import ContainerId
from headroom.ops.doctor.traffic import Promise, between
from headroom.ops.signals import Counters

KINDS = {
    "Pod": "pods",
    "Event": "events",
    "Deployment": "deployments",
    "StatefulSet": "stateful_sets",
    "HorizontalPodAutoscaler": "autoscalers",
    "Service": "services",
    "EndpointSlice": "endpoint_slices",
    "PersistentVolumeClaim": "claims",
    "ResourceQuota": "quotas",
    "ConfigMap": "config_maps",
    "Job": "jobs",
}
METRICS = 'http_requests_total{method="POST",path="/predict",status="200"} 10\n'
SHARD = {"recovering": True, "paused": False, "connections": 3, "max_connections": 100, "standbys": []}
MAP = {"version": 1, "owners": [0] * 256, "paused": False, "aborted": False, "working": False, "moves": []}
BUCKETS = {"number": 0, "version": 1, "recorded": [*range(256)], "writable": [*range(256)], "streams": []}
Answer = Callable[[tuple[str, ...]], str | None]


class Replay(Kubectl):
    """A cluster that answers as the recorded one. `instead` may answer first; it may raise, too."""

    lab: Any
    instead: Answer

    def run(self, *args: str, **_: Any) -> subprocess.CompletedProcess[str]:
        told = self.instead(args)
        told = self.answer(args) if told is None else told
        refused = told.startswith("Error")
        return subprocess.CompletedProcess(args, int(refused), "" if refused else told, told if refused else "")

    def answer(self, args: tuple[str, ...]) -> str:  # noqa: PLR0911  a table of answers
        words = " ".join(args)
        if args[0] == "version":
            return "{}"
        if args[0] == "exec":
            return self.inside(words)
        if args[1] == "services":
            return '{"items": []}'  # no Prometheus
        if args[1].startswith("pods,"):
            items = [{**o, "kind": kind} for kind, name in KINDS.items() for o in self.lab.raw(name)]
            return json.dumps({"items": items})
        if args[1].startswith("nodes,"):
            items = [{**o, "kind": "Node"} for o in self.lab.raw("nodes")]
            items += [{**o, "kind": "StorageClass"} for o in self.lab.raw("storage_classes")]
            return json.dumps({"items": items + [{**o, "kind": "APIService"} for o in self.lab.raw("api_services")]})
        if args[1] == "pods":  # of the service, to be watched
            found = [p for p in self.lab.raw("pods") if p["metadata"]["name"].startswith("inference-")]
            return json.dumps({"items": found})
        if "stats/summary" in words:
            return json.dumps(self.lab.raw("summary"))
        if "metrics.k8s.io" in words:
            return json.dumps({"items": self.lab.raw("pod_metrics")})
        if ":8090/proxy/state" in words:
            return json.dumps(next(s for s in self.lab.raw("h2o") if s["pod"] in words))
        return METRICS

    def inside(self, words: str) -> str:  # noqa: PLR0911  a table of answers
        if "redis-node report" in words:
            return json.dumps(next(r for r in self.lab.raw("redis") if r["pod"] in words))
        if "SHOW LISTS" in words:
            return "databases|3\nused_clients|12\n"
        if "SHOW CONFIG" in words:
            return "max_client_conn|1000|100|yes\n"
        if "SHOW POOLS" in words:
            return "features_0|features|4|2|0|0|0|1|0|0|0|0|0|3|120000|transaction\n"
        if "headroom.bucket" in words:
            return json.dumps(BUCKETS)
        if "headroom.move" in words:
            return json.dumps(MAP)
        standbys = [["pg-shard-0-0", "streaming", "sync", 128]]
        primary = {**SHARD, "recovering": False, "standbys": standbys}
        return json.dumps(primary if "pg-shard-0-1" in words else SHARD)


@pytest.fixture
def cluster(lab: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Kubectl]:
    monkeypatch.setattr(traffic, "BETWEEN_SECONDS", 0.0)

    def make(instead: Answer = lambda args: None) -> Kubectl:
        made = Replay(Path("kubectl"), Path("kubeconfig"))
        object.__setattr__(made, "lab", lab)
        object.__setattr__(made, "instead", instead)
        return made

    return make


def look(cluster: Any, lab: Any, instead: Answer = lambda args: None, only: str | None = None) -> doctor.Snapshot:
    return replace(collect(cluster(instead), lab.plan(), {}, real_pods=True, only=only), at=lab.at)


def test_everything_is_looked_at(lab: Any, cluster: Any) -> None:
    seen = look(cluster, lab)
    assert (seen.failures, seen.unseen) == ((), ())
    assert [len(x) for x in (seen.nodes, seen.postgres, seen.h2o, seen.redis)] == [1, 2, 2, 3]
    assert {n.pod: n.primary for n in seen.postgres} == {"pg-shard-0-0": False, "pg-shard-0-1": True}
    assert seen.postgres[-1].standbys[0].behind == 128
    assert [m.version for m in seen.moves] == [1]
    assert [len(s.writable) for s in seen.shards] == [256]
    (pooler,) = seen.poolers
    assert (pooler.clients, pooler.max_client_conn, pooler.waiting, pooler.longest_wait_seconds) == (12, 1000, 2, 3)
    assert {v.claim for v in seen.volumes} >= {"data-pg-shard-0-0", "data-redis-2", "h2o-export"}
    assert 0 < seen.volumes[0].share < 1
    assert seen.usage[ContainerId("headroom", "redis-0", "redis")].memory > 0
    assert set(seen.traffic) == {"inference"}
    # The recording is a healthy stack but for the two clients that wait here.
    assert {f.anchor for f in lab.diagnose(seen)} == {"connections-are-used-up"}


def test_a_program_that_hangs_is_a_finding_and_the_others_answer(lab: Any, cluster: Any) -> None:
    def hang(args: tuple[str, ...]) -> None:
        if args[0] == "exec" and "redis-1" in args:
            raise EnvironmentFailure("kubectl exec got no answer within 20 s")

    seen = look(cluster, lab, hang)
    assert len(seen.redis) == 2
    assert len(seen.postgres) == 2
    found = next(f for f in lab.diagnose(seen) if f.anchor == "no-answer")
    assert (found.component, found.subject) == ("redis", "pod redis-1")
    assert "within 20 s" in found.evidence[0]


def test_a_pod_that_hangs_is_named_once_and_the_requests_of_the_others_are_known(lab: Any, cluster: Any) -> None:
    names = [p["metadata"]["name"] for p in lab.raw("pods") if p["metadata"]["name"].startswith("inference-")]

    def hang(args: tuple[str, ...]) -> None:
        if f"pods/{names[0]}:8080/proxy/metrics" in args[-1]:
            raise EnvironmentFailure("kubectl get got no answer within 20 s")

    seen = look(cluster, lab, hang)
    assert [p.pod for p in seen.traffic["inference"].pods] == names[1:]
    assert len(seen.failures) == 2, "of either look"
    (found,) = [f for f in lab.diagnose(seen) if f.anchor == "no-answer"]
    assert (found.component, found.subject) == ("inference", f"pod {names[0]}")
    assert f"kubectl delete pod {names[0]} -n headroom" in found.fix


def test_an_answer_that_nobody_understands_is_no_traceback(lab: Any, cluster: Any) -> None:
    def strange(args: tuple[str, ...]) -> str | None:
        words = " ".join(args)
        if "SHOW POOLS" in words:
            return "one|two\n"
        return "<html>" if ":8090/proxy/state" in words or "stats/summary" in words else None

    seen = look(cluster, lab, strange)
    assert {f.subject.split()[0] for f in seen.failures} == {"pod", "volumes"}
    assert {f.component for f in seen.failures} == {"pgbouncer", "h2o", "cluster"}


def test_a_right_that_is_missing_is_told_and_is_no_symptom(lab: Any, cluster: Any) -> None:
    def forbid(args: tuple[str, ...]) -> str | None:
        words = 'Error from server (Forbidden): nodes is forbidden: User "dev" cannot list resource "nodes"'
        return words if "stats/summary" in " ".join(args) else None

    seen = look(cluster, lab, forbid)
    assert seen.failures == ()
    assert [u.what for u in seen.unseen] == ["volumes on node node-0"]
    assert "cannot list resource" in seen.unseen[0].why


def test_a_cluster_that_does_not_answer_is_one_message(lab: Any, cluster: Any) -> None:
    def silent(args: tuple[str, ...]) -> str | None:
        raise EnvironmentFailure("kubectl version failed: connection refused")

    with pytest.raises(EnvironmentFailure, match="connection refused"):
        look(cluster, lab, silent)


def test_only_the_programs_of_one_component_are_asked(lab: Any, cluster: Any) -> None:
    asked: list[str] = []

    def note(args: tuple[str, ...]) -> None:
        asked.append(" ".join(args))

    seen = look(cluster, lab, note, only="redis")
    assert len(seen.redis) == 3
    assert (seen.postgres, seen.h2o, seen.traffic) == ((), (), {})
    assert not any("psql" in words for words in asked)


@pytest.mark.parametrize("gone", [True, False])
def test_the_last_words_are_found_under_either_name_and_hold_no_password(lab: Any, cluster: Any, gone: bool) -> None:
    """The kubelet keeps one dead container: the previous one of a pod that waits, the last of one that just died."""
    pod = lab.sick("pods", "crash")

    def crashed(args: tuple[str, ...]) -> str | None:
        if args[0] == "logs":
            if ("--previous" in args) is gone:
                return "unable to retrieve container logs for containerd://0"
            url = "postgresql://features:hunter2secret@pgbouncer:6432"
            return f"connecting to {url}\n\x1b[1;31mno model\x1b[0m at /model\n"
        if args[0] == "get" and args[1].startswith("pods,"):
            return json.dumps({"items": [{**pod, "kind": "Pod"}]})
        return None

    seen = look(cluster, lab, crashed)
    (words,) = seen.last_words.values()
    assert words[-1] == "no model at /model"
    assert "hunter2secret" not in str(seen)


def test_fake_nodes_say_what_was_not_looked_at(lab: Any, cluster: Any) -> None:
    seen = collect(cluster(), lab.plan(), {}, real_pods=False)
    assert seen.redis == ()
    assert [u.what for u in seen.unseen] == ["what runs in the pods"]


def test_requests_between_two_looks() -> None:
    def at(requests: float, errors: float, slow: float) -> Counters:
        return Counters(requests, errors, {0.1: requests - slow, 1.0: requests, float("inf"): requests})

    first = {"a": at(1000, 0, 0), "b": at(5000, 10, 0), "gone": at(9, 0, 0)}
    second = {"a": at(1300, 30, 30), "b": at(100, 0, 0), "new": at(7, 0, 0)}  # b began anew
    found = between("api", (10.0, first), (20.0, second), Promise(0.25, 50))
    assert {p.pod: (p.rate, p.errors) for p in found.pods} == {"a": (30, 3), "b": (10, 0)}
    assert found.rate == 40
    assert found.p99 is not None
    assert 0.1 < found.p99 < 1.0
    few = between("api", (0.0, {"a": at(0, 0, 0)}), (5.0, {"a": at(50, 0, 0)}), Promise())
    assert few.p99 is None


def test_few_requests_prove_a_promise_broken_where_more_of_them_are_slow_than_by_chance() -> None:
    def over(slow: int) -> float | None:
        counted = Counters(25, 0, {0.1: 25 - slow, 0.25: 25 - slow, 5.0: 25, float("inf"): 25})
        return between("api", (0.0, {"a": Counters()}), (5.0, {"a": counted}), Promise(0.25)).p99

    assert over(4) is None
    found = over(5)
    assert found is not None and found > 0.25
