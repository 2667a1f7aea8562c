"""Every danger is told in words, and what is harmless is not called one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headroom.ops.diff import cluster
from headroom.ops.diff.compare import compare
from headroom.ops.diff.model import Danger
from headroom.ops.diff.words import verdict

Make = Callable[..., Any]


@pytest.fixture
def dangers(snapshot: Make) -> Callable[..., list[Danger]]:
    """The dangers of going from some objects and lines to others; a bystander makes neither side empty."""

    def find(before: list[Any], after: list[Any], old: tuple[Any, ...] = (), new: tuple[Any, ...] = ()) -> list[Danger]:
        return list(compare(snapshot(*before, lines=old), snapshot(*after, lines=new)).dangers)

    return find


def told(found: list[Danger]) -> list[tuple[str, str]]:
    return [(d.kind, d.subject) for d in found]


def test_a_replaced_stateful_set_is_a_downtime(thing: Make, dangers: Make) -> None:
    found = dangers(
        [thing("StatefulSet", "pg", spec={"serviceName": "a"})], [thing("StatefulSet", "pg", spec={"serviceName": "b"})]
    )
    assert told(found) == [("downtime", "StatefulSet ml/pg")]
    assert "spec.serviceName" in found[0].words
    assert "all its pods stop" in found[0].words


def test_a_replaced_claim_loses_data(thing: Make, dangers: Make) -> None:
    sides = [
        [thing("PersistentVolumeClaim", "data-pg-0", spec={"storageClassName": c}, retain=r)]
        for c, r in (("a", False), ("b", False))
    ]
    assert "data on its volume is lost" in dangers(*sides)[0].words
    kept = [[thing("PersistentVolumeClaim", "data-pg-0", spec={"storageClassName": c}, retain=True)] for c in "ab"]
    assert "`headroom up` refuses it" in dangers(*kept)[0].words
    assert told(dangers(*kept)) == [("data", "PersistentVolumeClaim ml/data-pg-0")]


def test_another_mode_of_redis_is_a_danger_to_its_data(thing: Make, dangers: Make) -> None:
    def config(mode: str, digest: str) -> Any:
        return thing("ConfigMap", f"redis-config-{digest}", data={"REDIS_MODE": mode, "REDIS_MAXMEMORY": digest})

    found = dangers([config("sentinel", "0123456789")], [config("cluster", "a123456789")])
    assert told(found) == [("data", "redis.mode")]
    assert "from sentinel to cluster" in found[0].words
    assert dangers([config("cluster", "0123456789")], [config("cluster", "a123456789")]) == []


def test_a_claim_that_grows_is_harmless_and_one_that_shrinks_is_not(thing: Make, dangers: Make) -> None:
    def claim(size: str) -> Any:
        return thing("PersistentVolumeClaim", "data", spec={"resources": {"requests": {"storage": size}}})

    assert dangers([claim("10Gi")], [claim("1Ti")]) == []
    assert told(dangers([claim("1Ti")], [claim("10Gi")])) == [("data", "PersistentVolumeClaim ml/data")]


@pytest.mark.parametrize(
    ("kind", "danger", "words"),
    [
        ("Namespace", "data", "everything in it"),
        ("PersistentVolumeClaim", "data", "is lost"),
        ("StatefulSet", "deletion", "claims stay"),
        ("Deployment", "deletion", "its pods stop"),
        ("Service", "deletion", "no longer resolves"),
        ("HorizontalPodAutoscaler", "deletion", "no longer follow load"),
        ("PodDisruptionBudget", "deletion", "node drain"),
        ("NetworkPolicy", "deletion", "paths"),
        ("Whatever", "deletion", "nothing takes its place"),
    ],
)
def test_a_deletion(kind: str, danger: str, words: str, thing: Make, dangers: Make) -> None:
    found = dangers([thing(kind, "x"), thing("Role")], [thing("Role")])
    assert [d.kind for d in found] == [danger]
    assert words in found[0].words


def test_a_retained_object_is_let_go(thing: Make, dangers: Make) -> None:
    found = dangers([thing("PersistentVolumeClaim", retain=True)], [])
    assert ["stays on the cluster" in d.words for d in found] == [True]


def test_jobs_and_hashed_names_come_and_go_without_danger(thing: Make, dangers: Make) -> None:
    before = [
        thing("Job", "redis-fill", spec={"template": {"a": 1}}),
        thing("ConfigMap", "x-config-0123456789", immutable=True),
    ]
    after = [
        thing("Job", "redis-fill", spec={"template": {"a": 2}}),
        thing("ConfigMap", "x-config-9876543210", immutable=True),
    ]
    assert dangers(before, after) == []
    assert dangers([thing("Job", "once"), thing("Role")], [thing("Role")]) == []


def test_maintenance_is_a_downtime(thing: Make, dangers: Make) -> None:
    found = dangers([thing("Deployment", spec={})], [thing("Deployment", spec={"replicas": 0})])
    assert [(d.kind, "maintenance" in d.words) for d in found] == [("downtime", True)]
    paused = {"annotations": {"autoscaling.keda.sh/paused-replicas": "0"}}
    found = dangers([thing("ScaledObject", spec={})], [thing("ScaledObject", spec={}, metadata=paused)])
    assert [(d.kind, "maintenance" in d.words) for d in found] == [("downtime", True)]
    assert dangers([thing("ScaledObject", spec={}, metadata=paused)], [thing("ScaledObject", spec={})]) == []


def test_fewer_pods_than_the_budget_keeps(thing: Make, dangers: Make) -> None:
    def stack(floor: int) -> list[Any]:
        labels = {"app": "api"}
        return [
            thing("Deployment", "api", spec={"template": {"metadata": {"labels": labels}}}),
            thing("HorizontalPodAutoscaler", "api-hpa", spec={"minReplicas": floor, "scaleTargetRef": {"name": "api"}}),
            thing("PodDisruptionBudget", "api", spec={"minAvailable": 2, "selector": {"matchLabels": labels}}),
        ]

    found = dangers(stack(3), stack(1))
    assert [(d.subject, "below the 2" in d.words) for d in found] == [("Deployment ml/api", True)]
    assert dangers(stack(1), stack(1)) == [], "not of this change"
    assert dangers(stack(3), stack(2)) == []


def test_recreate_and_single_pods_stop_while_they_roll(thing: Make, dangers: Make) -> None:
    def deployment(image: str, strategy: str) -> Any:
        return thing("Deployment", spec={"strategy": {"type": strategy}, "template": {"image": image}})

    assert len(dangers([deployment("1", "Recreate")], [deployment("2", "Recreate")])) == 1
    assert dangers([deployment("1", "RollingUpdate")], [deployment("2", "RollingUpdate")]) == []

    def single(image: str, replicas: int) -> Any:
        return thing("StatefulSet", "redis", spec={"replicas": replicas, "template": {"image": image}})

    assert told(dangers([single("1", 1)], [single("2", 1)])) == [("downtime", "StatefulSet ml/redis")]
    assert dangers([single("1", 3)], [single("2", 3)]) == []


@pytest.mark.parametrize("saved", [True, False])
def test_h2o_loses_its_memory(saved: bool, thing: Make, dangers: Make) -> None:
    def stack(replicas: int, options: tuple[str, ...] = ()) -> list[Any]:
        jobs = [thing("Job", "h2o-export", spec={})] if saved else []
        return [thing("StatefulSet", "h2o-cluster", spec={"replicas": replicas}, replace_on_changes=options), *jobs]

    words = "another loads them after" if saved else "no Job of this stack saves them"
    rolled = dangers(stack(3), stack(4))
    assert [(d.kind, words in d.words) for d in rolled] == [("data", True)]
    replaced = dangers(stack(3, ("spec",)), stack(4, ("spec",)))
    assert [d.kind for d in replaced] == ["data", "downtime"]
    assert words in replaced[0].words


def test_doors_that_open(thing: Make, dangers: Make) -> None:
    found = dangers([thing("Service", spec={"type": "ClusterIP"})], [thing("Service", spec={"type": "LoadBalancer"})])
    assert [d.kind for d in found] == ["exposure"]
    assert (
        dangers([thing("Service", spec={"type": "LoadBalancer"})], [thing("Service", spec={"type": "ClusterIP"})]) == []
    )
    enforced = {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    found = dangers([thing("Namespace", metadata=enforced)], [thing("Namespace")])
    assert [d.kind for d in found] == ["exposure"]


def public(**more: Any) -> dict[str, Any]:
    return {"spec": {"type": "LoadBalancer", "ports": [{"port": 8080}]} | more}


def test_a_new_service_that_is_public(thing: Make, dangers: Make) -> None:
    there = thing("ConfigMap")
    for kind in ("LoadBalancer", "NodePort"):
        found = dangers([there], [there, thing("Service", spec={"type": kind})])
        assert [(d.kind, kind in d.words) for d in found] == [("exposure", True)]
    assert dangers([there], [there, thing("Service", spec={"type": "ClusterIP"})]) == []


def test_a_public_service_that_is_public_for_more(thing: Make, dangers: Make) -> None:
    scheme = "service.beta.kubernetes.io/aws-load-balancer-scheme"

    def service(value: str, **more: Any) -> Any:
        notes = {scheme: value, "headroom.dev/because": value}
        return thing("Service", metadata={"annotations": notes}, **public(**more))

    found = dangers([service("internal")], [service("internet-facing")])
    assert [d.kind for d in found] == ["exposure"], "a formula is none"
    assert f"{scheme} goes from internal to internet-facing" in found[0].words
    private = [thing("Service", metadata={"annotations": {scheme: x}}, spec={"type": "ClusterIP"}) for x in "ab"]
    assert dangers(private[:1], private[1:]) == []
    found = dangers([service("x", loadBalancerSourceRanges=["10.0.0.0/8"])], [service("x")])
    assert ["from 10.0.0.0/8 to nothing" in d.words for d in found] == [True]
    found = dangers([service("x")], [service("x", ports=[{"port": 8080}, {"port": 8082}])])
    assert ["now on port 8082" in d.words for d in found] == [True]


def policy(**spec: Any) -> dict[str, Any]:
    return {"spec": {"podSelector": {"matchLabels": {"a": "b"}}, "policyTypes": ["Ingress", "Egress"], **spec}}


API = [{"port": 443}, {"port": 6443}]


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": API}]},
            {"egress": [{"ports": API}]},
            "lets its pods out to anywhere (ports 443, 6443)",
        ),
        (
            {"egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": API}]},
            {"egress": [{"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]}]},
            "lets its pods out to anywhere (all ports)",
        ),
        ({"ingress": [{"from": [{"podSelector": {}}]}]}, {"ingress": [{}]}, "lets anyone in (all ports)"),
        ({"egress": []}, {"policyTypes": ["Ingress"]}, "lets its pods out to anywhere: it no longer says"),
        ({"ingress": [{"ports": API[:1]}]}, {"ingress": [{"ports": API}]}, "lets anyone in (port 6443)"),
    ],
)
def test_a_network_policy_that_opens(
    before: dict[str, Any], after: dict[str, Any], words: str, thing: Make, dangers: Make
) -> None:
    old, new = thing("NetworkPolicy", **policy(**before)), thing("NetworkPolicy", **policy(**after))
    found = dangers([old], [new])
    assert [(d.kind, words in d.words) for d in found] == [("exposure", True)]
    assert dangers([new], [old]) == []


def test_a_new_network_policy_for_every_pod(thing: Make, dangers: Make) -> None:
    there = thing("ConfigMap")
    everyone = thing("NetworkPolicy", **policy(podSelector={}, ingress=[{}]))
    assert told(dangers([there], [there, everyone])) == [("exposure", "NetworkPolicy ml/x")]
    assert dangers([there], [there, thing("NetworkPolicy", **policy(egress=[{"ports": API}]))]) == []


def test_rights_that_are_new(thing: Make, dangers: Make) -> None:
    def role(*verbs: str, names: tuple[str, ...] = (), kind: str = "Role") -> Any:
        rule = {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": list(verbs)}
        return thing(kind, rules=[rule | ({"resourceNames": list(names)} if names else {})])

    there = thing("ConfigMap")
    for kind in ("Role", "ClusterRole"):
        found = dangers([there], [there, role("create", kind=kind)])
        assert [(d.kind, "create jobs.batch" in d.words) for d in found] == [("exposure", True)]
    found = dangers([role("get")], [role("get", "delete")])
    assert [(d.kind, d.words) for d in found] == [("exposure", "its holders may now delete jobs.batch")]
    assert dangers([role("get", "delete")], [role("get")]) == []
    assert dangers([role("patch", names=("a-0",))], [role("patch", names=("a-0", "a-1"))]) == [], "the set grew"
    assert len(dangers([role("patch", names=("a-0",))], [role("patch")])) == 1


def test_whom_rights_are_given(thing: Make, dangers: Make) -> None:
    def binding(kind: str, *names: str) -> Any:
        subjects = [{"kind": "ServiceAccount", "name": n, "namespace": "ml"} for n in names]
        return thing("RoleBinding", roleRef={"kind": kind, "name": "admin"}, subjects=subjects)

    there = thing("ConfigMap")
    found = dangers([there], [there, binding("ClusterRole", "api")])
    assert ["ServiceAccount ml/api the rights of ClusterRole admin" in d.words for d in found] == [True]
    assert dangers([there], [there, binding("Role", "api")]) == [], "the Role itself is told"
    assert len(dangers([binding("Role", "api")], [binding("Role", "api", "default")])) == 1


def test_another_cluster(tmp_path: Path, thing: Make, snapshot: Make) -> None:
    def side(text: str) -> Any:
        file = tmp_path / "Pulumi.prod.yaml"
        file.write_text(f"config:\n  a:b: c\n{text}")
        return cluster.marked(snapshot(thing("ConfigMap")), file)

    here, there = (side(f"  kubernetes:context: {name}\n") for name in ("blue", "green"))
    found = compare(here, there)
    assert (found.changed, [(d.subject, "from blue to green" in d.words) for d in found.dangers]) == (
        True,
        [("kubernetes:context", True)],
    )
    assert verdict(found).endswith("1 danger")
    assert not compare(here, here).changed
    assert len(compare(side(""), there).dangers) == 1
    first, second = (side(f"  kubernetes:kubeconfig: 'token-{n}'\n") for n in (1, 2))
    found = compare(first, second)
    assert [(d.subject, "another cluster" in d.words) for d in found.dangers] == [("kubernetes:kubeconfig", True)]
    assert "token-" not in repr(found)


@pytest.mark.parametrize(
    ("setting", "before", "after", "kind"),
    [
        ("maxReplicas", 30, 15, "shrink"),
        ("minReplicas", 5, 4, "shrink"),
        ("shards", 5, 4, "shrink"),
        ("replicationFactor", 3, 2, "shrink"),
        ("heap", "40Gi", "20Gi", "shrink"),
        ("memoryLimit", "4Gi", "4095Mi", "shrink"),
        ("cpuLimit", "2", "1500m", "shrink"),
        ("volumeSize", "4097Gi", "4Ti", "data"),
    ],
)
def test_what_shrinks(setting: str, before: Any, after: Any, kind: str, *, line: Make, dangers: Make) -> None:
    found = dangers([], [], (line(setting, before),), (line(setting, after),))
    assert told(found) == [(kind, f"inference.{setting}")]
    assert dangers([], [], (line(setting, after),), (line(setting, before),)) == []


def test_figures_that_may_fall(line: Make, dangers: Make) -> None:
    for setting in ("predictedP99", "monthlyCostAtMin", "targetCPUUtilization", "replicasAtTarget"):
        assert dangers([], [], (line(setting, 9),), (line(setting, 8),)) == []


def test_shards_that_grow_move_data(line: Make, dangers: Make) -> None:
    old, new = (line("shards", n, component="postgres") for n in (4, 5))
    assert told(dangers([], [], (old,), (new,))) == [("data", "postgres.shards")]


def test_data_comes_before_downtime_before_shrinking(thing: Make, line: Make, dangers: Make) -> None:
    before = [thing("PersistentVolumeClaim", "a"), thing("Deployment", spec={}), thing("Service", "gone")]
    after = [thing("Deployment", spec={"replicas": 0})]
    found = dangers(before, after, (line("maxReplicas", 2),), (line("maxReplicas", 1),))
    assert [d.kind for d in found] == ["data", "downtime", "deletion", "shrink"]
