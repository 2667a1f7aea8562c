"""What the entry file and the components tell the engine beside the objects: order, provider, secrets."""

from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from math import ceil
from typing import Any

import pytest

from headroom.backend.secrets import REQUIRED
from headroom.capacity import demand, plan
from headroom.engine.rendered import Rendered, Resource

Config = dict[str, Any]
PASSWORDS = {name: f"{name}-0123456789-Qx" for name in REQUIRED}


@pytest.fixture
def prod(config: Callable[[str], Config], render_config: Callable[..., Rendered]) -> Rendered:
    """prod with passwords, so that everything a password is in is there."""
    return render_config(config("prod") | {"headroom:secrets": PASSWORDS}, "prod")


def test_services_wait_for_the_pooler(rendered: Callable[[str], Rendered]) -> None:
    stack = rendered("prod")
    pooler = stack.find("Deployment", "pgbouncer")
    linked = {
        o.manifest["metadata"]["labels"]["app"]
        for o in stack.objects
        if o.id.kind == "ConfigMap" and "DATABASE_URL" in (o.manifest.get("data") or {})
    }
    assert linked
    for name in linked:
        assert pooler.urn in stack.find("Deployment", name).depends_on


def test_the_pooler_waits_for_every_shard_and_for_the_move(rendered: Callable[[str], Rendered]) -> None:
    stack = rendered("prod")
    before = set(stack.find("Deployment", "pgbouncer").depends_on)
    shards = {o.urn for o in stack.objects if o.id.kind == "StatefulSet" and o.id.name.startswith("pg-shard-")}
    jobs = {o.urn for o in stack.objects if o.id.kind == "Job" and o.id.name.startswith("pg-move")}
    assert len(shards) > 1 and len(jobs) == 1
    assert shards | jobs <= before


def test_a_rollout_is_as_large_as_the_plan_has_room_for(
    config: Callable[[str], Config], rendered: Callable[[str], Rendered]
) -> None:
    sized = plan.make(demand.from_config("prod", config("prod")))
    found = rendered("prod")
    for service in sized.services:
        spec = found.find("Deployment", service.key).manifest["spec"]
        assert _added(spec, service.max_replicas.value) == service.surge_pods.value
        assert spec["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pooler = found.find("Deployment", "pgbouncer").manifest["spec"]
    assert pooler["strategy"] == found.find("Deployment", "inference").manifest["spec"]["strategy"]


def _added(spec: dict[str, Any], replicas: int) -> int:
    """Pods that Kubernetes adds for a rolling update: it rounds up."""
    percent = int(spec["strategy"]["rollingUpdate"]["maxSurge"].removesuffix("%"))
    return ceil(Fraction(replicas * percent, 100))


def test_the_provider_adopts_what_was_kept_and_hides_who_it_is(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    chosen = {"kubernetes:context": "mine", "kubernetes:kubeconfig": "/home/me/.kube/config"}
    (found,) = _providers(render_config(config("dev") | chosen))
    assert found.secret_paths == (("kubeconfig",),)
    assert _options(found) == {
        "context": "mine",
        "kubeconfig": "/home/me/.kube/config",
        "enableServerSideApply": True,
        "upsertExistingObjects": True,
        "enableConfigMapMutable": True,
        "enableSecretMutable": True,
    }


def test_without_a_choice_there_is_no_cluster(rendered: Callable[[str], Rendered]) -> None:
    (found,) = _providers(rendered("dev"))
    assert _options(found)["context"].startswith("none: choose a cluster")


def _providers(stack: Rendered) -> list[Resource]:
    return [r for r in stack.resources if r.type_token == "pulumi:providers:kubernetes"]


def _options(provider: Resource) -> dict[str, Any]:
    """The inputs of a provider; all but texts are JSON in text."""
    read = {"true": True, "false": False}
    return {k: read.get(v, v) for k, v in provider.inputs.items() if v is not None}


def test_every_secret_is_marked_on_its_way_in_and_out(prod: Rendered) -> None:
    secrets = [r for r in prod.resources if r.type_token == "kubernetes:core/v1:Secret"]
    assert len(secrets) >= 6
    for found in secrets:
        held = {key for key in ("data", "stringData") if found.inputs.get(key)}
        assert held and {(key,) for key in held} == set(found.secret_paths), found.name
        assert {"data", "stringData"} <= set(found.additional_secret_outputs), found.name
    plain = json.dumps([r.inputs for r in prod.resources if r not in secrets])
    assert [name for name, value in PASSWORDS.items() if value in plain] == []


def test_a_scale_by_hand_does_not_stand_in_the_way_of_the_next_update(rendered: Callable[[str], Rendered]) -> None:
    scaled = [o for o in rendered("prod").objects if o.id.kind in ("Deployment", "StatefulSet")]
    assert {"pgbouncer", "pg-shard-0", "redis", "inference"} <= {o.id.name for o in scaled}
    for o in scaled:
        assert o.manifest["metadata"]["annotations"]["pulumi.com/patchForce"] == "true", o.id


@pytest.mark.parametrize("kind", ["ClusterIP", "LoadBalancer"])
def test_the_mesh_is_for_the_neighbours_alone(kind: str, render_services: Callable[..., Rendered]) -> None:
    public = {"service": {"type": kind, "because": "partners call it", "annotations": {"example.com/tier": "gold"}}}
    stack = render_services(auth={"preset": "inferadb", **(public if kind != "ClusterIP" else {})})
    services = {o.id.name: o.manifest for o in stack.objects if o.id.kind == "Service"}
    ports = {name: [p["port"] for p in s["spec"]["ports"]] for name, s in services.items()}
    if kind == "ClusterIP":
        assert ports == {"auth": [8080, 8081, 8082]}
    else:
        assert ports == {"auth": [8080, 8081], "auth-mesh": [8082]}
        assert services["auth"]["spec"]["type"] == kind
        assert services["auth-mesh"]["spec"]["type"] == "ClusterIP"
        assert "example.com/tier" not in services["auth-mesh"]["metadata"]["annotations"]
        assert services["auth-mesh"]["spec"]["selector"] == services["auth"]["spec"]["selector"]
    callers, mesh, metrics = stack.find("NetworkPolicy", "auth").manifest["spec"]["ingress"]
    assert [p["port"] for p in callers["ports"]] == [8080, 8081]
    assert ("from" in callers) == (kind == "ClusterIP")
    assert mesh == {"from": [{"podSelector": {}}], "ports": [{"protocol": "TCP", "port": 8082}]}
    assert [p["port"] for p in metrics["ports"]] == [8080]
