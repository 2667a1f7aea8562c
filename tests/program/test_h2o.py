"""The H2O cluster's objects: pinned, in order, and replaced by what must replace them and by nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from headroom.engine.rendered import Rendered, RenderedObject
from headroom.errors import InputError

Config = dict[str, Any]
PASSWORD = "Zq8-Vw3x_Lm5n.Rt7y"


def stack(**h2o: Any) -> Config:
    return {
        "headroom:environment": "prod",
        "headroom:namespace": "ml",
        "headroom:services": {},
        "headroom:images": {"h2o": "registry.example/h2o:1.0.0"},
        "headroom:secrets": {"h2oUi": PASSWORD},
        "headroom:h2o": {"demand": {"dataset": "60GB"}, "node": {"memory": "64Gi"}, **h2o},
    }


def nodes(found: Rendered) -> RenderedObject:
    return found.find("StatefulSet", "h2o-cluster")


def container(found: Rendered, name: str) -> Config:
    every = nodes(found).manifest["spec"]["template"]["spec"]["containers"]
    return next(c for c in every if c["name"] == name)


def job(found: Rendered, task: str) -> RenderedObject:
    return next(o for o in found.objects if o.id.kind == "Job" and o.id.name.startswith(f"h2o-{task}-"))


def environment(of: Config) -> dict[str, str]:
    return {e["name"]: e["value"] for e in of.get("env", []) if "value" in e}


def test_the_cluster_of_prod(rendered: Callable[[str], Rendered]) -> None:
    prod = rendered("prod")
    spec = nodes(prod).manifest["spec"]
    assert (spec["replicas"], spec["serviceName"], spec["podManagementPolicy"]) == (6, "h2o-headless", "Parallel")
    assert spec["updateStrategy"] == {"type": "OnDelete"}
    assert "volumeClaimTemplates" not in spec
    h2o = container(prod, "h2o")
    assert "-Xmx40g" in h2o["command"]
    assert h2o["resources"]["requests"] == h2o["resources"]["limits"] == {"cpu": "4", "memory": "64Gi"}
    assert environment(h2o) == {
        "H2O_KUBERNETES_API_PORT": "8080",
        "H2O_KUBERNETES_SERVICE_DNS": "h2o-headless.ml-platform.svc.cluster.local",
        "H2O_NODE_EXPECTED_COUNT": "6",
    }


def test_xgboost_takes_heap_away(render_config: Callable[..., Rendered]) -> None:
    off = "-Dsys.ai.h2o.ext.core.toggle.XGBoost=False"
    with_it = container(render_config(stack(xgboost=True)), "h2o")["command"]
    assert ("-Xmx32g" in with_it, off in with_it) == (True, False)
    assert off in container(render_config(stack()), "h2o")["command"], "else it would take what the heap has"


def test_xgboost_trains_over_ports_of_its_own(render_config: Callable[..., Rendered]) -> None:
    own = {"protocol": "TCP", "port": 9010, "endPort": 10010}
    for wanted in (True, False):
        spec = render_config(stack(xgboost=wanted)).find("NetworkPolicy", "h2o-cluster").manifest["spec"]
        among, clients = spec["ingress"]
        assert (own in among["ports"], own in spec["egress"][0]["ports"]) == (wanted, wanted)
        assert own not in clients["ports"], "they ask for no password"


def test_a_nodes_own_disk_is_of_the_plan(render_config: Callable[..., Rendered]) -> None:
    for given, size in ({}, "43Gi"), ({"override": {"scratchSize": {"value": "9Gi", "because": "small"}}}, "9Gi"):
        volumes = nodes(render_config(stack(**given))).manifest["spec"]["template"]["spec"]["volumes"]
        assert {"name": "tmp", "emptyDir": {"sizeLimit": size}} in volumes


def test_discovery_by_flatfile(render_config: Callable[..., Rendered]) -> None:
    h2o = container(render_config(stack(discovery="flatfile")), "h2o")
    assert environment(h2o) == {}
    assert h2o["command"][-2:] == ["-flatfile", "/run/h2o/flatfile"]


def test_nodes_find_each_other_before_they_are_ready_and_clients_find_the_leader(
    render_config: Callable[..., Rendered],
) -> None:
    found = render_config(stack())
    headless = found.find("Service", "h2o-headless").manifest["spec"]
    assert headless["clusterIP"] == "None"
    assert headless["publishNotReadyAddresses"] is True
    assert [p["name"] for p in headless["ports"]] == ["http"], "SRV records are of named ports"
    leader = found.find("Service", "h2o").manifest["spec"]
    assert leader["type"] == "ClusterIP"
    assert leader["selector"] == {"app.kubernetes.io/name": "h2o-cluster", "headroom.dev/h2o-role": "leader"}
    template = nodes(found).manifest["spec"]["template"]
    assert "headroom.dev/h2o-role" not in template["metadata"]["labels"], "the guard's alone"
    for name in ("h2o", "guard"):
        assert container(found, name)["readinessProbe"]["httpGet"] == {"path": "/ready", "port": 8090}


def test_rights_go_no_further_than_labels_of_the_nodes(render_config: Callable[..., Rendered]) -> None:
    found = render_config(stack(override={"nodes": {"value": 7, "because": "growth"}}))
    (rule,) = found.find("Role", "h2o-cluster").manifest["rules"]
    assert rule == {
        "apiGroups": [""],
        "resources": ["pods"],
        "resourceNames": [f"h2o-cluster-{n}" for n in range(7)],
        "verbs": ["patch"],
    }
    for allowed in found.find("Role", "h2o-jobs").manifest["rules"]:
        assert allowed["resourceNames"]
        assert not set(allowed["verbs"]) & {"create", "delete", "list", "*"}


def test_the_password_is_in_its_secret_and_the_token_with_the_guard(render_config: Callable[..., Rendered]) -> None:
    found = render_config(stack())
    for o in found.objects:
        assert o.id.kind == "Secret" or PASSWORD not in json.dumps(o.manifest), o.id
    assert [m["name"] for m in container(found, "guard")["volumeMounts"]] == ["run", "login", "token"]
    assert not {m["name"] for m in container(found, "h2o")["volumeMounts"]} & {"login", "token"}
    assert nodes(found).manifest["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    assert "-hash_login" in container(found, "h2o")["command"]


def test_a_secret_that_exists_is_used_by_its_one_key(render_config: Callable[..., Rendered]) -> None:
    config = stack(existingSecret="ours")
    del config["headroom:secrets"]
    found = render_config(config)
    assert [o.id.name for o in found.objects if o.id.kind == "Secret"] == []
    for o in (nodes(found), job(found, "drain"), job(found, "fill")):
        volumes = o.manifest["spec"]["template"]["spec"]["volumes"]
        login = next(v["secret"] for v in volumes if v["name"] == "login")
        assert (login["secretName"], [i["key"] for i in login["items"]]) == ("ours", ["h2oUi"])


@pytest.mark.parametrize("password", ["", "short", "aaaaaaaaaaaaaaaaaaaaaa"])
def test_a_weak_password_is_refused_without_being_shown(render_config: Callable[..., Rendered], password: str) -> None:
    with pytest.raises(InputError, match="h2oUi") as refused:
        render_config(stack() | {"headroom:secrets": {"h2oUi": password}})
    assert not password or password not in str(refused.value)


def test_memory_is_saved_before_the_set_changes_and_loaded_after(render_config: Callable[..., Rendered]) -> None:
    found = render_config(stack())
    wave = {name: o.wave for name, o in (("drain", job(found, "drain")), ("set", nodes(found)))}
    secret = found.find("Secret", "h2o-login")
    assert wave["drain"] < secret.wave < wave["set"] < job(found, "fill").wave, "the old password opens the old cluster"
    assert max(found.find("Role", name).wave for name in ("h2o-cluster", "h2o-jobs")) < wave["drain"]


RESIZE = {"override": {"nodes": {"value": 8, "because": "growth"}}}


@pytest.mark.parametrize(
    "change",
    [
        RESIZE,
        {"node": {"memory": "96Gi"}, "override": {"nodes": {"value": 6, "because": "as before"}}},
        {"xgboost": True, "override": {"nodes": {"value": 8, "because": "as computed"}}},
        {"discovery": "flatfile"},
        {"node": {"memory": "64Gi", "cpu": "6"}},
    ],
    ids=["nodes", "memory", "xgboost", "discovery", "cpu"],
)
def test_whatever_changes_the_nodes_replaces_them_with_jobs_around_it(
    render_config: Callable[..., Rendered], change: Config
) -> None:
    before, after = render_config(stack()), render_config(stack(**change))
    live = nodes(after)
    assert live.delete_before_replace
    assert live.replace_on_changes == ("spec.template",)
    assert live.manifest["spec"]["template"] != nodes(before).manifest["spec"]["template"]
    for task in ("drain", "fill"):
        assert job(before, task).id.name != job(after, task).id.name, "a Job runs once"
    wanted = live.manifest["metadata"]["annotations"]["headroom.dev/spec-hash"]
    told = environment(job(after, "drain").manifest["spec"]["template"]["spec"]["containers"][0])
    assert told["H2O_SPEC_HASH"] == wanted
    assert wanted != nodes(before).manifest["metadata"]["annotations"]["headroom.dev/spec-hash"]


def test_another_password_replaces_the_nodes_and_an_unchanged_one_nothing(
    render_config: Callable[..., Rendered],
) -> None:
    first, again = render_config(stack()), render_config(stack())
    assert [o.manifest for o in first.objects] == [o.manifest for o in again.objects]
    other = render_config(stack() | {"headroom:secrets": {"h2oUi": PASSWORD[::-1]}})
    assert nodes(other).manifest["spec"]["template"] != nodes(first).manifest["spec"]["template"]


def test_a_larger_export_volume_leaves_the_nodes_alone(render_config: Callable[..., Rendered]) -> None:
    before, after = render_config(stack()), render_config(stack(exportVolume={"size": "400GB"}))
    changed = {
        o.id.kind for o in after.objects for was in before.objects if was.id == o.id and was.manifest != o.manifest
    }
    assert changed == {"PersistentVolumeClaim"}
    assert {o.id for o in before.objects} == {o.id for o in after.objects}


def test_what_was_saved_outlives_the_stack(render_config: Callable[..., Rendered]) -> None:
    found = render_config(stack())
    assert found.find("PersistentVolumeClaim", "h2o-export").retain
    assert found.find("ConfigMap", "h2o-saved").retain


def test_object_storage_stands_in_for_the_volume(render_config: Callable[..., Rendered]) -> None:
    found = render_config(stack(exportVolume={"s3": "s3://bucket/h2o"}))
    assert "PersistentVolumeClaim" not in {o.id.kind for o in found.objects}
    told = environment(job(found, "drain").manifest["spec"]["template"]["spec"]["containers"][0])
    assert told["H2O_EXPORT_ROOT"] == "s3://bucket/h2o"


def test_nobody_but_nodes_clients_and_jobs_reaches_the_nodes(render_config: Callable[..., Rendered]) -> None:
    spec = render_config(stack()).find("NetworkPolicy", "h2o-cluster").manifest["spec"]
    among, clients = spec["ingress"]
    assert among["from"] == [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "h2o-cluster"}}}]
    assert [p["port"] for p in clients["ports"]] == [54321]
    assert all(peer for rule in spec["ingress"] for peer in rule["from"])


def test_the_way_out_leads_to_the_nodes_the_api_server_and_where_it_is_saved_alone(
    render_config: Callable[..., Rendered],
) -> None:
    def ways_out(name: str, **h2o: Any) -> list[Config]:
        egress: list[Config] = render_config(stack(**h2o)).find("NetworkPolicy", name).manifest["spec"]["egress"]
        return egress

    nodes = [{"podSelector": {"matchLabels": {"app.kubernetes.io/name": "h2o-cluster"}}}]
    api = [{"protocol": "TCP", "port": port} for port in (443, 6443)]
    narrow = {"to": [{"ipBlock": {"cidr": "10.1.0.0/28"}}], "ports": api}
    for name in ("h2o-cluster", "h2o-jobs"):
        first, *rest = ways_out(name)
        assert (first["to"], rest) == (nodes, [{"ports": api}])
        first, *rest = ways_out(name, apiServers=["10.1.0.0/28"])
        assert (first["to"], rest) == (nodes, [narrow])
    storage = {"ports": api[:1]}
    for name, expected in {"h2o-cluster": [narrow, storage], "h2o-jobs": [narrow]}.items():
        assert ways_out(name, apiServers=["10.1.0.0/28"], exportVolume={"s3": "s3://bucket/h2o"})[1:] == expected


@pytest.mark.parametrize(
    ("h2o", "words"),
    [
        ({"override": {"nodes": {"value": 0, "because": "none"}}}, "nodes"),
        ({"node": {"memory": "1Gi"}}, "2Gi or more"),
        ({"override": {"heap": {"value": "60Gi", "because": "more"}}}, "at most 48Gi"),
        ({"override": {"nodes": {"value": 2, "because": "cheaper"}}}, "6 or more"),
    ],
)
def test_what_cannot_work_is_refused_with_the_number_that_would(
    render_config: Callable[..., Rendered], h2o: Config, words: str
) -> None:
    with pytest.raises(InputError) as refused:
        render_config(stack(**h2o))
    assert words in f"{refused.value} {refused.value.fix}"


def test_a_lowered_quota_does_not_keep_the_jobs_from_running(render_config: Callable[..., Rendered]) -> None:
    """It is lowered first, while the pods that are to go still count; pods with a deadline do not."""
    found = render_config(stack())
    quotas = [o.manifest["spec"] for o in found.objects if o.id.kind == "ResourceQuota"]
    assert [quota["scopes"] for quota in quotas] == [["NotTerminating"]] * len(quotas)
    for step in ("drain", "fill"):
        assert job(found, step).manifest["spec"]["template"]["spec"]["activeDeadlineSeconds"] >= 3600
