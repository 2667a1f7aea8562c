"""The components by themselves: twice in one program, under another name, and what the backstop refuses."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pulumi
import pytest

from components.links import Link
from components.metadata import image_version
from components.objects import KubernetesObject, child_options, register_backstop
from components.pods import SecretKey
from components.stateless_service import StatelessService, StatelessServiceArgs
from headroom.capacity import demand, plan
from headroom.capacity.plan.model import ImagesPlan, ServicePlan
from headroom.engine.rendered import Rendered
from headroom.errors import HeadroomError

RenderProgram = Callable[[Callable[[], None]], Rendered]


def service(**changes: object) -> ServicePlan:
    config = {
        "environment": "dev",
        "services": {"inference": {"preset": "fastapi", "image": "registry.example/inference:1.0.0"}},
    }
    (found,) = plan.make(demand.from_config("test", config)).services
    return dataclasses.replace(found, **changes)  # type: ignore[arg-type]


def args(sized: ServicePlan, **more: SecretKey) -> StatelessServiceArgs:
    images = ImagesPlan(pull_policy="IfNotPresent", pull_secrets=("registry",))
    return StatelessServiceArgs(plan=sized, images=images, stack="test", link=Link(secrets=more))


def test_a_component_can_be_there_twice(render_program: RenderProgram) -> None:
    def program() -> None:
        register_backstop()
        StatelessService("one", args(service()))
        StatelessService("two", args(service(key="second")))
        StatelessService("three", args(service(namespace="elsewhere")))

    deployments = [o.id for o in render_program(program).objects if o.id.kind == "Deployment"]
    assert {(i.namespace, i.name) for i in deployments} == {
        ("headroom", "inference"),
        ("headroom", "second"),
        ("elsewhere", "inference"),
    }


def test_logical_names_come_from_the_component_and_nothing_that_moves(render_program: RenderProgram) -> None:
    def named(sized: ServicePlan) -> set[str]:
        return {r.urn for r in render_program(lambda: (StatelessService("one", args(sized)), None)[1]).resources}

    assert named(service()) == named(service(key="renamed", namespace="moved", env={"A": "1"}, image="x.example/y:2"))


def test_a_caller_s_order_and_provider_reach_every_object(render_program: RenderProgram) -> None:
    class First(pulumi.ComponentResource):
        def __init__(self, name: str) -> None:
            super().__init__("test:First", name)
            metadata = {"name": "first", "namespace": "headroom"}
            KubernetesObject(f"{name}-map", "v1", "ConfigMap", metadata, {}, child_options(self, None))
            self.register_outputs({})

    def program() -> None:
        first = First("first")
        StatelessService("one", args(service()), pulumi.ResourceOptions(depends_on=[first]))

    stack = render_program(program)
    waves = {o.id.name: o.wave for o in stack.objects if o.id.name == "first"}
    assert waves == {"first": 0}
    assert all(o.wave > 0 for o in stack.objects if o.id.name != "first")


def test_an_alias_is_the_component_s_alone(render_program: RenderProgram) -> None:
    """Pulumi gives children the names that they had under `old`; the same alias on each would make them one."""

    def program() -> None:
        StatelessService("new", args(service()), pulumi.ResourceOptions(aliases=[pulumi.Alias(name="old")]))

    assert [r.name for r in render_program(program).resources if r.aliases] == ["new"]


def test_secrets_are_referred_to_by_name(render_program: RenderProgram) -> None:
    def program() -> None:
        StatelessService("one", args(service(), DATABASE_URL=SecretKey(secret="pgbouncer-app", key="url")))

    (container,) = (
        render_program(program).find("Deployment", "inference").manifest["spec"]["template"]["spec"]["containers"]
    )
    assert container["env"] == [
        {"name": "DATABASE_URL", "valueFrom": {"secretKeyRef": {"name": "pgbouncer-app", "key": "url"}}}
    ]


def test_a_secret_of_the_user_s_becomes_environment(render_program: RenderProgram) -> None:
    stack = render_program(lambda: (StatelessService("one", args(service(existing_secret="mine"))), None)[1])
    (container,) = stack.find("Deployment", "inference").manifest["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"][1:] == [{"secretRef": {"name": "mine"}}]
    assert not [o for o in stack.objects if o.is_secret], "it is the user's, and is not ours to make"


def test_an_object_outside_a_component_is_refused(render_program: RenderProgram) -> None:
    def program() -> None:
        register_backstop()
        KubernetesObject("loose", "v1", "ConfigMap", {"name": "loose", "namespace": "a"}, {}, pulumi.ResourceOptions())

    with pytest.raises(HeadroomError, match="no component as its parent"):
        render_program(program)


def test_an_object_without_a_name_is_refused(render_program: RenderProgram) -> None:
    class Nameless(pulumi.ComponentResource):
        def __init__(self) -> None:
            super().__init__("test:Nameless", "nameless")
            KubernetesObject("map", "v1", "ConfigMap", {"namespace": "a"}, {}, child_options(self, None))
            self.register_outputs({})

    def program() -> None:
        register_backstop()
        Nameless()

    with pytest.raises(HeadroomError, match=r"no metadata\.name"):
        render_program(program)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("registry.example/inference:1.0.0", "1.0.0"),
        ("registry.example:5000/inference", None),
        ("registry.example:5000/inference:v2@sha256:0123", "v2"),
        ("inference@sha256:0123", None),
        ("inference:1.0_", None),
    ],
)
def test_the_version_is_the_image_s_tag(image: str, version: str | None) -> None:
    assert image_version(image) == version


def test_another_image_changes_what_runs_it_and_nothing_else(
    config: Callable[[str], dict[str, Any]], render_config: Callable[..., Rendered]
) -> None:
    now, then = config("staging"), config("staging")
    then["headroom:images"] = {part: f"{image}-next" for part, image in now["headroom:images"].items()}
    for service in then["headroom:services"].values():
        service["image"] += "-next"
    before, after = ({o.id: o.manifest for o in render_config(c, "staging").objects} for c in (now, then))
    changed = {i for i in before.keys() | after.keys() if before.get(i) != after.get(i)}
    assert {i.kind for i in changed} == {"Deployment", "StatefulSet", "Job"}
    assert {i.kind for i in before.keys() ^ after.keys()} == {"Job"}, "a Job is another one, all else is updated"
    versions = [m["metadata"]["labels"]["app.kubernetes.io/version"] for i, m in after.items() if i in changed]
    assert all(version.endswith("-next") for version in versions)
