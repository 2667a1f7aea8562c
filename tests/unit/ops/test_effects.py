"""Which objects an edit by a command changes, by the program itself: those, and no others."""

from __future__ import annotations

from decimal import Decimal
from functools import cache
from pathlib import Path

import pytest

from headroom.capacity import demand, plan
from headroom.capacity.plan.model import ServicePlan
from headroom.engine.render import render
from headroom.engine.rendered import Rendered, RenderedObject
from headroom.ops import delta, splice
from headroom.ops.scale import bounds

ROOT = Path(__file__).resolve().parents[3]
PROD = (ROOT / "Pulumi.prod.yaml").read_text()
DEV = (ROOT / "Pulumi.dev.yaml").read_text()
SERVICES = ("config", "headroom:services")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("effects")


def rendered(stack: str, text: str, folder: Path) -> Rendered:
    file = folder / f"Pulumi.{stack}.yaml"
    file.write_text(text)
    return render(ROOT, stack, config_file=file)


@cache
def as_it_is(stack: str, folder: Path) -> Rendered:
    return rendered(stack, {"prod": PROD, "dev": DEV}[stack], folder)


def changes(stack: str, text: str, folder: Path) -> delta.Delta:
    return delta.compare(as_it_is(stack, folder), rendered(stack, text, folder))


def names(objects: tuple[RenderedObject, ...]) -> set[str]:
    return {f"{o.id.kind}/{o.id.name}" for o in objects}


def planned(stack: str, folder: Path, service: str) -> ServicePlan:
    file = folder / f"Pulumi.{stack}.yaml"
    file.write_text({"prod": PROD, "dev": DEV}[stack])
    return next(s for s in plan.make(demand.load(stack, file)).services if s.key == service)


def test_an_emergency_moves_the_autoscaler_and_the_quota_and_no_pod(folder: Path) -> None:
    edit = bounds.replicas("inference", 30, "launch day", planned("prod", folder, "inference"))
    found = changes("prod", edit(PROD), folder)
    assert {"HorizontalPodAutoscaler/inference-hpa", "ResourceQuota/headroom-quota"} <= names(found.changed)
    assert not found.removed
    for o in found.changed:
        if o.id.kind in ("Deployment", "StatefulSet"):  # annotations say the formulas anew; nothing rolls
            assert o.manifest["spec"]["template"] == found.before[o.id]["spec"]["template"], o.id
    assert not [n for n in names(found.changed) if n.startswith(("StatefulSet/", "Job/", "Secret/"))]
    # The room for the pods comes before the pods.
    waves = {o.id.kind: o.wave for o in found.changed}
    assert waves["ResourceQuota"] < waves["HorizontalPodAutoscaler"]


def test_larger_pods_are_a_new_template_and_new_settings(folder: Path) -> None:
    found = changes("prod", bounds.pod_size("inference", "2", None, "x")(PROD), folder)
    assert {"Deployment/inference", "ResourceQuota/headroom-quota"} <= names(found.changed)
    (new,) = (o for o in found.changed if o.id.kind == "ConfigMap")
    assert new.manifest["data"]["WORKER_THREADS"] == "8"
    assert [o.id.kind for o in found.removed] == ["ConfigMap"]
    assert "Deployment/mage" not in names(found.changed)


def test_a_canary_is_one_deployment_more(folder: Path) -> None:
    path = (*SERVICES, "inference", "canary")
    text = splice.put(PROD, path, {"image": "registry.example/inference:2.0.0", "weight": Decimal("0.1")})
    found = changes("prod", text, folder)
    new = {o.id.name for o in found.changed if o.id not in found.before}
    assert new == {"inference-canary"}
    assert "HorizontalPodAutoscaler/inference-hpa" not in names(found.changed)
    back = delta.compare(rendered("prod", text, folder), as_it_is("prod", folder))
    assert names(back.removed) == {"Deployment/inference-canary"}


def test_a_promotion_moves_the_image_and_takes_the_canary(folder: Path) -> None:
    image = "registry.example/inference:2.0.0"
    with_canary = splice.put(PROD, (*SERVICES, "inference", "canary"), {"image": image, "weight": Decimal("0.1")})
    promoted = splice.put(PROD, (*SERVICES, "inference", "image"), image)
    found = delta.compare(rendered("prod", with_canary, folder), rendered("prod", promoted, folder))
    assert names(found.removed) == {"Deployment/inference-canary"}
    deployment = found.find("Deployment", "inference")
    assert deployment is not None
    assert deployment.manifest["spec"]["template"]["spec"]["containers"][0]["image"] == image


@pytest.mark.parametrize(
    ("service", "changed"), [("inference", "ScaledObject/inference-hpa"), ("inferadb", "Deployment/inferadb")]
)
def test_maintenance_is_the_annotation_under_keda_and_no_replicas_under_an_hpa(
    folder: Path, service: str, changed: str
) -> None:
    found = changes("dev", splice.put(DEV, (*SERVICES, service, "maintenance"), True), folder)
    assert names(found.changed) == {changed}
    (o,) = found.changed
    if o.id.kind == "Deployment":
        assert o.manifest["spec"]["replicas"] == 0
    else:
        assert o.manifest["metadata"]["annotations"]["autoscaling.keda.sh/paused-replicas"] == "0"
