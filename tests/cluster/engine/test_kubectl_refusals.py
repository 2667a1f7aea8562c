"""What the kubectl engine refuses, in one message and before anything is applied."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from headroom.errors import EnvironmentFailure, InputError

pytestmark = pytest.mark.cluster


def test_a_change_of_namespace_is_refused(stack: Any) -> None:
    stack.up('configmap("a")')
    with pytest.raises(InputError, match=f"lives in namespace {stack.namespace}"):
        stack.up('configmap("a")', namespace=f"{stack.namespace}-new")
    assert stack.kubectl.run("get", "ns", f"{stack.namespace}-new", "--ignore-not-found").stdout == ""


def test_the_namespace_of_another_stack_is_refused(stack: Any) -> None:
    stack.up('configmap("a")')
    other = replace(stack, deployment=replace(stack.deployment, stack="other"))
    with pytest.raises(InputError, match=f"belongs to stack {stack.deployment.stack}"):
        other.up('configmap("b")')


def test_a_missing_metrics_api_is_told_before_anything_is_applied(stack: Any) -> None:
    with pytest.raises(
        EnvironmentFailure, match=r"custom\.metrics\.k8s\.io.*horizontalpodautoscaler/web-hpa"
    ) as caught:
        stack.up(
            """
            k8s.autoscaling.v2.HorizontalPodAutoscaler("hpa", metadata=meta("web-hpa"), spec={
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 3,
                "metrics": [{"type": "Pods", "pods": {"metric": {"name": "depth"},
                    "target": {"type": "AverageValue", "averageValue": "10"}}}]})
            """
        )
    assert "prometheus-adapter" in caught.value.fix
    assert stack.kubectl.run("get", "ns", stack.namespace, "--ignore-not-found").stdout == ""


def test_a_missing_kind_is_told_before_anything_is_applied(stack: Any) -> None:
    with pytest.raises(EnvironmentFailure, match=r"no-such\.example/v1 X"):
        stack.up(
            """
            k8s.apiextensions.CustomResource("x", api_version="no-such.example/v1", kind="X", metadata=meta("x"))
            """
        )
    assert stack.kubectl.run("get", "ns", stack.namespace, "--ignore-not-found").stdout == ""


def test_what_the_api_server_refuses_is_told_before_anything_is_applied(stack: Any) -> None:
    program = 'deployment("web", restartPolicy="Never")\nconfigmap("a")'
    assert [c.name for c in stack.preview(program).of("refused")] == ["web"]
    with pytest.raises(InputError, match=r"Deployment .*/web: .*restartPolicy"):
        stack.up(program)
    assert stack.kubectl.run("get", "ns", stack.namespace, "--ignore-not-found").stdout == ""


def test_an_immutable_field_is_refused_unless_the_program_allows_replacement(stack: Any) -> None:
    stack.up('stateful_set("db", service="one")')
    before = stack.kubectl.find("statefulset", "db", stack.namespace)["metadata"]["uid"]
    with pytest.raises(InputError, match="updates to statefulset spec"):
        stack.up('stateful_set("db", service="two")')
    assert stack.kubectl.find("statefulset", "db", stack.namespace)["metadata"]["uid"] == before

    result = stack.up('stateful_set("db", service="two", delete_before_replace=True)')
    assert [c.name for c in result.changes.of("replace")] == ["db"]
    after = stack.kubectl.find("statefulset", "db", stack.namespace)
    assert after["spec"]["serviceName"] == "two"
    assert after["metadata"]["uid"] != before


def test_a_changed_job_of_the_same_name_is_refused_in_one_line(stack: Any) -> None:
    program = """
        k8s.batch.v1.Job("j", metadata=meta("j"), spec={"suspend": True,
            "template": pod("j", restartPolicy="Never", hostname="one")}, opts=Options(depends_on=[ns]))
    """
    stack.up(program)
    (refused,) = stack.preview(program.replace('"one"', '"two"')).of("refused")
    assert refused.name == "j"
    assert refused.reason.endswith("spec.template: field is immutable")
    assert len(refused.reason) < 100


def test_a_protected_object_stops_down(stack: Any) -> None:
    stack.up('k8s.core.v1.ConfigMap("p", metadata=meta("p"), opts=Options(depends_on=[ns], protect=True))')
    with pytest.raises(InputError, match="configmap/p"):
        stack.down()
    assert "p" in stack.names("configmaps")


def test_nobody_listens_on_the_cluster(stack: Any, tmp_path: Any) -> None:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c"}}],
                "current-context": "c",
            }
        )
    )
    target = replace(stack.deployment.target, kubectl=replace(stack.kubectl, kubeconfig=kubeconfig))
    with pytest.raises(EnvironmentFailure, match="kubectl get"):
        replace(stack, deployment=replace(stack.deployment, target=target)).up('configmap("a")')
