"""Every object against the schemas of the Kubernetes version that we run, unknown fields refused."""

from __future__ import annotations

from collections.abc import Callable

import kubernetes_validate
import pytest

from headroom.engine.rendered import Rendered

VERSION = "1.35"
# Their schemas live in the cluster, with the operator; the cluster tests apply them there.
CUSTOM = {"ScaledObject"}


def invalid(stack: Rendered) -> dict[str, str]:
    found = {}
    for o in stack.objects:
        if o.id.kind in CUSTOM:
            continue
        try:
            kubernetes_validate.validate(o.manifest, VERSION, strict=True)
        except (kubernetes_validate.ValidationError, kubernetes_validate.SchemaNotFoundError) as error:
            found[str(o.id)] = str(error)
    return found


def test_every_stack(stack: Rendered) -> None:
    assert invalid(stack) == {}


def test_everything_that_a_service_can_be(render_services: Callable[..., Rendered]) -> None:
    canary = {"image": "registry.example/api:2.0.0", "weight": 0.1}
    exposure = {"type": "LoadBalancer", "because": "partners call it", "annotations": {"example.com/tier": "gold"}}
    stack = render_services(
        api={"preset": "fastapi", "canary": canary, "service": exposure},
        authz={"preset": "inferadb", "presetProfile": "current", "autoscaling": {"metrics": "resource"}},
        stopped={"preset": "fastapi", "maintenance": True, "autoscaling": {"memoryUtilization": 80}},
        mage={"preset": "mage"},
    )
    assert {"Deployment", "HorizontalPodAutoscaler", "Role", "RoleBinding"} <= {o.id.kind for o in stack.objects}
    assert invalid(stack) == {}


def test_an_unknown_field_would_be_found() -> None:
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "dta": {}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(manifest, VERSION, strict=True)
