"""The policy pack's rules on the rendered objects of every real stack."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest

from headroom.engine.rendered import Rendered
from policy.rules import OBJECT_RULES, STACK_RULES, services, violations


def test_no_object_of_any_stack_breaks_a_rule(stack: Rendered) -> None:
    assert [str(v) for v in violations([o.manifest for o in stack.objects])] == []


@pytest.fixture
def prod(rendered: Callable[[str], Rendered]) -> list[dict[str, Any]]:
    return [deepcopy(o.manifest) for o in rendered("prod").objects]


def workload(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    return next(m for m in manifests if m["kind"] == "Deployment" and m["metadata"]["name"] == "inference")


def container(manifests: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = workload(manifests)["spec"]["template"]["spec"]["containers"][0]
    return found


def budgets(manifests: list[dict[str, Any]]) -> None:
    manifests[:] = [m for m in manifests if m["kind"] != "PodDisruptionBudget"]


def public(manifests: list[dict[str, Any]]) -> None:
    next(m for m in manifests if m["kind"] == "Service")["spec"]["type"] = "LoadBalancer"


@pytest.mark.parametrize(
    ("rule", "harm"),
    [
        ("restricted-pods", lambda m: container(m)["securityContext"].update(privileged=True)),
        ("resources", lambda m: container(m).pop("resources")),
        ("probes", lambda m: container(m).pop("readinessProbe")),
        ("no-latest", lambda m: container(m).update(image="registry.example/inference:latest")),
        ("no-plaintext-secret", lambda m: container(m).setdefault("env", []).append({"name": "TOKEN", "value": "x1"})),
        ("no-public-service", public),
        ("disruption-budgets", budgets),
        ("one-replicas-owner", lambda m: workload(m)["spec"].update(replicas=5)),
    ],
)
def test_each_rule_bites_on_the_real_objects(rule: str, harm: Callable[[Any], Any], prod: list[dict[str, Any]]) -> None:
    harm(prod)
    assert {v.rule for v in violations(prod)} == {rule}
    assert rule in {r.name for r in (*OBJECT_RULES, *STACK_RULES)}


def test_a_public_service_of_a_stack_file_carries_its_reason(
    config: Callable[[str], dict[str, Any]], render_config: Callable[..., Rendered]
) -> None:
    asked = config("dev")
    service = {"type": "LoadBalancer", "because": "partners call it"}
    asked["headroom:services"]["inference"]["service"] = service
    found = render_config(asked).find("Service", "inference")
    assert found.manifest["metadata"]["annotations"][services.REASON] == "partners call it"
    assert list(services.RULE.violations(found.manifest)) == []
