"""The kubectl engine on a real API server: what `up` makes, changes, waits for and goes on with."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from headroom.engine import record
from headroom.errors import EnvironmentFailure

pytestmark = pytest.mark.cluster

WEB = """
    settings = configmap("settings", a="1")
    deployment("web", settings, replicas=2)
"""


def recorded(stack: Any) -> record.Record:
    return next(r for r in record.find(stack.kubectl, stack.deployment.stack) if r.namespace == stack.namespace)


def test_up_makes_everything_and_a_second_up_changes_nothing(stack: Any) -> None:
    first = stack.up(WEB)
    assert first.changes.count() == {"create": 3}
    web = stack.kubectl.find("deployment", "web", stack.namespace)
    assert web["status"]["readyReplicas"] == 2
    before = stack.versions()
    second = stack.up(WEB)
    assert second.changes.count() == {"unchanged": 3}
    # Only controllers may have written in between; they write status of workloads.
    assert {k: v for k, v in stack.versions().items() if "Deployment" not in k} == {
        k: v for k, v in before.items() if "Deployment" not in k
    }
    assert stack.kubectl.find("deployment", "web", stack.namespace)["metadata"]["generation"] == 1


def test_preview_before_the_namespace_exists(stack: Any) -> None:
    changes = stack.preview(WEB)
    assert changes.count() == {"create": 3}
    assert stack.kubectl.run("get", "ns", stack.namespace, "--ignore-not-found").stdout == ""


def test_preview_says_which_fields_change_and_touches_nothing(stack: Any) -> None:
    stack.up(WEB)
    before = stack.versions()
    changes = stack.preview(WEB.replace("replicas=2", "replicas=3").replace('a="1"', 'b="2"'))
    assert {str(c): [(f.path, f.before, f.after) for f in c.fields] for c in changes.of("update")} == {
        f"update ConfigMap {stack.namespace}/settings": [("data.a", "1", None), ("data.b", None, "2")],
        f"update Deployment {stack.namespace}/web": [("spec.replicas", 2, 3)],
    }
    after = stack.versions()
    assert after["ConfigMap/settings"] == before["ConfigMap/settings"]


def test_waves_are_applied_in_order(stack: Any) -> None:
    stack.up(WEB)
    waves = [line for line in stack.progress.lines if line.startswith("wave") and not line.endswith("True")]
    assert waves == ["wave 1 of 3: 1 Namespace", "wave 2 of 3: 1 ConfigMap", "wave 3 of 3: 1 Deployment"]


def test_a_rollout_that_fails_is_diagnosed_and_the_next_up_goes_on(stack: Any) -> None:
    stuck = 'w = deployment("web", nodeSelector={"no": "such-node"})\nconfigmap("later", w)'
    with pytest.raises(EnvironmentFailure) as caught:
        stack.within(5).up(stuck)
    assert "deployment/web" in caught.value.message
    assert "0 of 1 pods ready" in caught.value.message
    assert "node affinity/selector" in caught.value.message
    assert "later" not in stack.names("configmaps")
    assert recorded(stack).state == "applying"

    stack.up('w = deployment("web")\nconfigmap("later", w)')
    assert "later" in stack.names("configmaps")
    assert recorded(stack).state == "ready"


def test_interrupted_between_waves_and_run_again(stack: Any) -> None:
    def stop(text: str) -> None:
        if text.startswith("wave 3"):
            raise KeyboardInterrupt

    stack.progress.on = stop
    with pytest.raises(KeyboardInterrupt):
        stack.up(WEB)
    assert stack.names("configmaps") == {"settings", record.NAME}
    stack.progress.on = lambda _: None
    # What the interrupted run made and the program has forgotten since is pruned too.
    stack.up('deployment("web")')
    assert stack.names("configmaps") == {record.NAME}
    assert stack.names("deployments") == {"web"}


FAILS_UNTIL_A_NODE_IS_LABELLED = """
    job = k8s.batch.v1.Job("j", metadata=meta("j"), spec={"activeDeadlineSeconds": 6,
        "template": pod("j", restartPolicy="Never", nodeSelector={"for": NS})}, opts=Options(depends_on=[ns]))
    configmap("later", job)
"""


def test_a_job_that_failed_is_tried_again_by_the_next_up(stack: Any) -> None:
    with pytest.raises(EnvironmentFailure, match=r"job/j .*failed"):
        stack.up(FAILS_UNTIL_A_NODE_IS_LABELLED)
    failed = stack.kubectl.find("job", "j", stack.namespace)["metadata"]["uid"]
    assert "later" not in stack.names("configmaps")

    node = stack.kubectl.get("nodes")["items"][0]["metadata"]["name"]
    stack.kubectl.run("label", "node", node, f"for={stack.namespace}")
    try:
        result = stack.up(FAILS_UNTIL_A_NODE_IS_LABELLED)
    finally:
        stack.kubectl.run("label", "node", node, "for-")
    assert [(c.kind, c.name, c.reason) for c in result.changes.of("replace")] == [
        ("Job", "j", "it failed, and is tried again")
    ]
    assert stack.kubectl.find("job", "j", stack.namespace)["metadata"]["uid"] != failed
    assert "later" in stack.names("configmaps")
    assert stack.up(FAILS_UNTIL_A_NODE_IS_LABELLED).changes.empty


def test_replace_on_changes_replaces_what_could_change_in_place(stack: Any) -> None:
    program = """
        k8s.core.v1.ConfigMap("a", metadata=meta("a"), data={"k": "1"},
            opts=Options(depends_on=[ns], replace_on_changes=["data.k"]))
    """
    stack.up(program)
    before = stack.kubectl.find("configmap", "a", stack.namespace)["metadata"]["uid"]
    result = stack.up(program.replace('"1"', '"2"'))
    assert [(c.name, c.reason) for c in result.changes.of("replace")] == [("a", "data.k cannot change in place")]
    assert stack.kubectl.find("configmap", "a", stack.namespace)["metadata"]["uid"] != before


def test_secrets_stay_out_of_changes(stack: Any) -> None:
    program = """
        k8s.core.v1.Secret("s", metadata=meta("s"), string_data={"p": config.require_secret("p")},
            opts=Options(depends_on=[ns]))
    """
    first = replace(stack, deployment=replace(stack.deployment, secrets={"p": "hunter2"}))
    first.up(program)
    assert first.up(program).changes.count() == {"unchanged": 2}
    second = replace(stack, deployment=replace(stack.deployment, secrets={"p": "hunter3"}))
    changes = second.preview(program)
    assert [f.path for c in changes.of("update") for f in c.fields] == ["data.p"]
    assert "hunter" not in repr(changes)
    assert "aHVudGVy" not in repr(changes)
    assert "hunter" not in "".join(stack.progress.lines)


def test_a_key_taken_out_of_a_secret_goes(stack: Any) -> None:
    program = """
        k8s.core.v1.Secret("s", metadata=meta("s"), string_data={KEYS}, opts=Options(depends_on=[ns]))
    """
    stack.up(program.replace("KEYS", '"a": "1", "b": "2"'))
    stack.up(program.replace("KEYS", '"b": "2"'))
    assert set(stack.kubectl.find("secret", "s", stack.namespace)["data"]) == {"b"}


def test_a_field_changed_by_hand_is_set_back(stack: Any) -> None:
    stack.up(WEB)
    stack.kubectl.run("scale", "deployment", "web", "--replicas=5", "-n", stack.namespace)
    changes = stack.preview(WEB)
    assert [(f.path, f.before, f.after) for c in changes.of("update") for f in c.fields] == [("spec.replicas", 5, 2)]
    stack.up(WEB)
    assert stack.kubectl.find("deployment", "web", stack.namespace)["spec"]["replicas"] == 2


def test_what_need_not_be_awaited_is_not(stack: Any) -> None:
    stack.within(5).up('deployment("web", wait=False, nodeSelector={"no": "such-node"})')
    assert "web" in stack.names("deployments")
