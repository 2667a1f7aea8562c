"""What the kubectl engine removes, by pruning and by `down`, and what it keeps."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.engine import live, record
from headroom.engine.rendered import ObjectId
from headroom.errors import InputError

pytestmark = pytest.mark.cluster

WEB = """
    settings = configmap("settings", a="1")
    deployment("web", settings, replicas=2)
"""


def test_what_the_program_forgets_is_pruned_and_what_others_made_is_not(stack: Any) -> None:
    stack.up('configmap("a")\nconfigmap("b")')
    stack.kubectl.run("create", "configmap", "foreign", "-n", stack.namespace)
    result = stack.up('configmap("a")')
    assert [str(c) for c in result.changes.of("delete")] == [f"delete ConfigMap {stack.namespace}/b"]
    assert stack.names("configmaps") == {"a", "foreign", record.NAME}


def test_a_namesake_made_by_somebody_else_is_not_pruned(stack: Any) -> None:
    stack.up('configmap("a")\nconfigmap("b")')
    stack.kubectl.run("delete", "configmap", "b", "-n", stack.namespace)
    stack.kubectl.run("create", "configmap", "b", "-n", stack.namespace)
    assert stack.up('configmap("a")').changes.of("delete") == ()
    assert "b" in stack.names("configmaps")


def test_claims_are_kept_until_their_deletion_is_asked_for_by_name(stack: Any) -> None:
    stack.up('claim("data")\nconfigmap("a")')
    assert stack.up('configmap("a")').kept == (f"persistentvolumeclaim/data in {stack.namespace}",)
    assert stack.names("pvc") == {"data"}

    result = stack.down()
    assert stack.names("configmaps") == set()
    assert stack.names("pvc") == {"data"}
    assert f"persistentvolumeclaim/data in {stack.namespace}" in result.kept

    with pytest.raises(InputError, match="--delete-data"):
        stack.down(delete_data="some-other-namespace")
    assert stack.names("pvc") == {"data"}

    stack.down(delete_data=stack.namespace)
    assert stack.kubectl.run("get", "ns", stack.namespace, "--ignore-not-found").stdout == ""


def test_down_twice_is_down_once(stack: Any) -> None:
    stack.up(WEB)
    assert len(stack.down().changes.of("delete")) == 2
    assert stack.down().changes.items == ()


def test_down_needs_no_program_that_renders(stack: Any) -> None:
    stack.up('configmap("a")')
    stack.write('from headroom.errors import InputError\nraise InputError("broken")')
    stack.down()
    assert stack.names("configmaps") == set()


def test_a_claim_that_binds_late_is_not_waited_for(stack: Any) -> None:
    stack.kubectl.run("delete", "storageclass", "late", "--ignore-not-found")
    program = """
        k8s.storage.v1.StorageClass("late", metadata={"name": "late"}, provisioner="example.com/none",
            volume_binding_mode="WaitForFirstConsumer")
        k8s.core.v1.PersistentVolumeClaim("c", metadata=meta("c"), spec={"storageClassName": "late",
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
            opts=Options(depends_on=[ns]))
    """
    stack.within(10).up(program)
    identity = ObjectId("v1", "PersistentVolumeClaim", stack.namespace, "c")
    assert live.read(stack.kubectl, [identity])[identity]["status"]["phase"] == "Pending"
    stack.down(delete_data=stack.namespace)
