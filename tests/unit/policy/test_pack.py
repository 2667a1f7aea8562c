"""The translation to Pulumi's policies, fed with the values that the engine sends."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pulumi_policy import (
    PolicyCustomTimeouts,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from policy import previous
from policy.pack import UNKNOWN, Pack, plain
from policy.rules import OBJECT_RULES, STACK_RULES, replacement
from policy.rules.replacement import Known

Make = Callable[..., dict[str, Any]]
OPTIONS = PolicyResourceOptions(False, [], None, [], PolicyCustomTimeouts(0, 0, 0), [])


def urn(manifest: Mapping[str, Any]) -> str:
    return f"urn:pulumi:prod::headroom::{manifest['kind']}::{manifest['metadata']['name']}"


def judge(pack: Pack, manifest: dict[str, Any], config: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """What every resource policy says of one object, by policy."""
    said: dict[str, list[str]] = {}
    for policy in pack.policies():
        if isinstance(policy, ResourceValidationPolicy):
            token = f"kubernetes:{manifest['apiVersion']}:{manifest['kind']}"
            props = unknown_checking_proxy(json.loads(json.dumps(manifest), parse_int=float))
            args = ResourceValidationArgs(token, props, urn(manifest), "x", OPTIONS, None, config)
            policy.validate(args, lambda message, _=None, name=policy.name: said.setdefault(name, []).append(message))
    return said


def test_every_rule_is_a_mandatory_policy() -> None:
    policies = Pack().policies()
    wanted = {r.name for r in (*OBJECT_RULES, *STACK_RULES)} | {replacement.NAME}
    assert {p.name for p in policies} == wanted
    assert {p.enforcement_level.value for p in policies if p.enforcement_level} == {"mandatory"}


def test_good_and_bad_objects_get_through_as_the_rules_say(workload: Make) -> None:
    pack = Pack(known=lambda _: [])
    assert judge(pack, workload()) == {}
    assert set(judge(pack, workload({"spec.template.spec.hostPID": True}))) == {"restricted-pods"}


def test_what_is_unknown_in_a_preview_is_no_violation_and_hides_none(workload: Make) -> None:
    unknown = workload({"spec.template.metadata.annotations": {"checksum": UNKNOWN_STRING_VALUE}})
    assert judge(Pack(), unknown) == {}
    unknown["spec"]["template"]["spec"]["hostPID"] = True
    assert set(judge(Pack(), unknown)) == {"restricted-pods"}
    assert plain(unknown_checking_proxy({"a": [UNKNOWN_STRING_VALUE, 2.0]})) == {"a": [UNKNOWN, 2]}


def test_other_providers_are_left_alone() -> None:
    said: list[str] = []
    for policy in Pack().policies():
        if isinstance(policy, ResourceValidationPolicy):
            args = ResourceValidationArgs("random:index:RandomId", {"kind": "Pod"}, "u", "x", OPTIONS, None)
            policy.validate(args, lambda message, _=None: said.append(message))
    assert said == []


def test_stack_rules_see_inputs_not_what_the_cluster_filled_in(workload: Make, autoscaler: Make) -> None:
    pack = Pack()
    objects = [workload(), autoscaler(minReplicas=1)]
    for manifest in objects:
        judge(pack, manifest)
    outputs = {**objects[0], "spec": {**objects[0]["spec"], "replicas": 7}}
    resources = [
        PolicyResource("kubernetes:x", m, urn(m), "x", OPTIONS, None, None, [], {}) for m in (outputs, objects[1])
    ]
    said: list[str] = []
    for policy in pack.policies():
        if isinstance(policy, StackValidationPolicy):
            policy.validate(StackValidationArgs(resources), lambda message, _=None: said.append(message))
    assert said == []

    judge(pack, workload({"spec.replicas": 7}))
    for policy in pack.policies():
        if isinstance(policy, StackValidationPolicy):
            policy.validate(StackValidationArgs(resources), lambda message, _=None: said.append(message))
    assert len(said) == 1
    assert "sets replicas 7" in said[0]


def test_a_replacement_is_refused_unless_the_configuration_names_it(workload: Make) -> None:
    was = workload({"spec.serviceName": "old"}, kind="StatefulSet", name="h2o-cluster")
    now = workload({"spec.serviceName": "new"}, kind="StatefulSet", name="h2o-cluster")
    assert set(judge(Pack(known=lambda _: [Known(was)]), now)) == {replacement.NAME}
    assert judge(Pack(known=lambda _: [Known(was)]), now, {"allow": ["h2o-cluster"]}) == {}


@pytest.mark.parametrize(("organization", "told"), [("", "organization/headroom/prod"), ("acme", "acme/headroom/prod")])
def test_the_state_asked_for_is_that_of_the_stack(
    organization: str, told: str, workload: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PULUMI_ORGANIZATION", organization)
    asked: list[str] = []

    def known(stack: str) -> list[Known]:
        asked.append(stack)
        return []

    judge(Pack(known=known), workload(kind="StatefulSet"))
    assert asked == [told]


def test_a_state_that_cannot_be_read_refuses_too(workload: Make) -> None:
    def unreadable(_: str) -> list[Known]:
        raise previous.UnknownStateError("no such stack")

    said = judge(Pack(known=unreadable), workload(kind="StatefulSet"))
    assert ["no such stack" in m for m in said[replacement.NAME]] == [True]


def test_the_state_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workload: Make) -> None:
    was = workload(kind="StatefulSet")
    export = {
        "version": 3,
        "deployment": {
            "resources": [
                {"type": "pulumi:pulumi:Stack", "urn": "s"},
                {"type": "kubernetes:apps/v1:StatefulSet", "inputs": was, "replaceOnChanges": ["spec.replicas"]},
                {"type": "kubernetes:apps/v1:StatefulSet", "inputs": was, "delete": True},
            ]
        },
    }
    file = tmp_path / "state.json"
    file.write_text(json.dumps(export))
    monkeypatch.setenv(previous.STATE_FILE, str(file))
    assert previous.stateful_sets("prod") == [Known(was, ("spec.replicas",))]
    file.write_text('{"version": 3, "deployment": null}')
    assert previous.stateful_sets("prod") == []
    file.write_text("{")
    with pytest.raises(previous.UnknownStateError):
        previous.stateful_sets("prod")


def test_without_the_engine_the_state_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(previous.STATE_FILE, raising=False)
    with pytest.raises(previous.UnknownStateError, match="PATH"):
        previous.stateful_sets("prod")


def test_the_committed_configuration_names_policies_that_exist() -> None:
    root = Path(__file__).parents[3]
    config = json.loads((root / "policy" / "config.json").read_text())
    assert set(config) <= {p.name for p in Pack().policies()}
