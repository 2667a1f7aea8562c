"""What a rendering records, and what it refuses."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headroom.engine.render import render
from headroom.errors import InputError


def waves(rendered: Any) -> dict[str, int]:
    return {o.logical_name: o.wave for o in rendered.objects}


def test_whole_numbers_stay_whole_and_fractions_stay_fractions(make: Any) -> None:
    rendered = make(
        """
        k8s.apiextensions.CustomResource("x", api_version="example.com/v1", kind="X",
            metadata={"name": "x", "namespace": "ml"}, spec={"whole": 3, "fraction": 1.5, "deep": [{"n": 7}]})
        """
    )
    spec = rendered.find("X", "x").manifest["spec"]
    assert spec == {"whole": 3, "fraction": 1.5, "deep": [{"n": 7}]}
    assert type(spec["whole"]) is int
    assert type(spec["deep"][0]["n"]) is int


def test_config_arrives_as_the_command_line_hands_it_over(make: Any) -> None:
    rendered = make(
        """
        configmap("seen", pulumi.ResourceOptions(), **{
            "name": config.require("name"), "int": str(config.require_int("count") + 1),
            "bool": str(config.require_bool("flag")), "object": str(config.require_object("nested")),
            "other": pulumi.Config("aws").require("region"), "float": str(config.require_float("ratio")),
            "where": f"{pulumi.get_project()}/{pulumi.get_stack()}",
        })
        """,
        config='{name: plain, "headroom:count": 3, flag: true, nested: {cpu: "4", deep: [1, x]}, '
        '"aws:region": eu, ratio: 0.25}',
    )
    assert rendered.objects[0].manifest["data"] == {
        "name": "plain",
        "int": "4",
        "bool": "True",
        "object": "{'cpu': '4', 'deep': [1, 'x']}",
        "other": "eu",
        "float": "0.25",
        "where": "headroom/test",
    }


def test_encrypted_values_are_secret_placeholders_unless_given(make: Any) -> None:
    program = """
        s = config.require_secret("password")
        k8s.core.v1.Secret("s", metadata={"name": "s", "namespace": "ml"}, string_data={"p": s})
        pulumi.export("p", s)
        pulumi.export("open", 1)
    """
    blank = make(program, config="{password: {secure: v1:abc}}")
    assert blank.placeholders == ("headroom:password",)
    assert blank.objects[0].secret_paths == (("stringData",),)
    assert blank.secret_exports == {"p"}
    assert blank.exports["open"] == 1

    given = make(program, config="{password: {secure: v1:abc}}", secrets={"password": "hunter2"})
    assert given.placeholders == ()
    assert given.objects[0].manifest["stringData"] == {"p": "hunter2"}

    added = make(program, secrets={"headroom:password": "hunter3"})
    assert added.objects[0].manifest["stringData"] == {"p": "hunter3"}
    assert added.objects[0].secret_paths == (("stringData",),)


def test_a_secret_inside_a_structured_value_is_found_by_its_path(make: Any) -> None:
    rendered = make(
        """
        v = config.require_secret_object("postgres")
        k8s.core.v1.Secret("s", metadata={"name": "s", "namespace": "ml"}, string_data={"p": v["password"]})
        """,
        config="{postgres: {size: 1, password: {secure: v1:abc}}}",
        secrets={"headroom:postgres.password": "hunter2"},
    )
    assert rendered.objects[0].manifest["stringData"] == {"p": "hunter2"}
    assert rendered.placeholders == ()


def test_a_secret_outside_a_secret_is_refused(make: Any) -> None:
    with pytest.raises(InputError, match=r"configmap/leak in ml holds a secret value in its data"):
        make('configmap("leak", None, p=config.require_secret("p"))', secrets={"p": "hunter2"})


def test_the_message_about_a_leak_does_not_leak(make: Any) -> None:
    with pytest.raises(InputError) as caught:
        make('configmap("leak", None, p=config.require_secret("p"))', secrets={"p": "hunter2"})
    assert "hunter2" not in str(caught.value)


def test_options_and_parents_are_recorded(make: Any) -> None:
    rendered = make(
        """
        g = Group("g", "a")
        configmap("x", Options(parent=g, retain_on_delete=True, protect=True, delete_before_replace=True,
            replace_on_changes=["data"], ignore_changes=["metadata"], aliases=[pulumi.Alias(name="old")]))
        """
    )
    x = rendered.find("ConfigMap", "x")
    assert (x.retain, x.protect, x.delete_before_replace, x.replace_on_changes) == (True, True, True, ("data",))
    group = next(r for r in rendered.resources if r.type_token == "test:index:Group")
    assert x.parent == group.urn
    assert not group.custom
    resource = next(r for r in rendered.resources if r.urn == x.urn)
    assert resource.ignore_changes == ("metadata",)
    assert any("old" in a for a in resource.aliases)


def test_urns_are_those_of_the_engine(make: Any) -> None:
    rendered = make('Group("outer", "a")\nconfigmap("top")')
    assert {o.urn for o in rendered.objects} == {
        "urn:pulumi:test::headroom::test:index:Group$kubernetes:core/v1:ConfigMap::outer-a",
        "urn:pulumi:test::headroom::kubernetes:core/v1:ConfigMap::top",
    }


def test_waves_are_longest_paths(make: Any) -> None:
    rendered = make(
        """
        a = configmap("a")
        b = configmap("b", Options(depends_on=[a]))
        c = configmap("c", Options(depends_on=[b]))
        configmap("d", Options(depends_on=[a, c]))
        configmap("e")
        """
    )
    assert waves(rendered) == {"a": 0, "b": 1, "c": 2, "d": 3, "e": 0}
    assert [o.logical_name for o in rendered.objects] == ["a", "e", "b", "c", "d"]


def test_waiting_for_a_component_is_waiting_for_all_its_objects(make: Any) -> None:
    rendered = make(
        """
        inner = Group("inner", "a", "b")
        outer = Group("outer", "c", opts=Options(depends_on=[inner]))
        configmap("last", Options(depends_on=[outer]))
        """
    )
    assert waves(rendered) == {"inner-a": 0, "inner-b": 0, "outer-c": 1, "last": 2}
    last = rendered.find("ConfigMap", "last")
    assert [d.rpartition("::")[2] for d in last.depends_on] == ["outer-c"]
    inherited = rendered.find("ConfigMap", "outer-c")
    assert [d.rpartition("::")[2] for d in inherited.depends_on] == ["inner-a", "inner-b"]


def test_nested_components_are_looked_through(make: Any) -> None:
    rendered = make(
        """
        outer = Group("outer")
        Group("inner", "deep", opts=Options(parent=outer))
        configmap("last", Options(depends_on=[outer]))
        """
    )
    assert waves(rendered) == {"inner-deep": 0, "last": 1}


def test_an_output_used_as_an_input_is_a_dependency(make: Any) -> None:
    rendered = make(
        """
        a = configmap("a")
        configmap("b", None, after=a.metadata.name)
        """
    )
    assert waves(rendered) == {"a": 0, "b": 1}
    assert rendered.find("ConfigMap", "b").manifest["data"] == {"after": "a"}


@pytest.mark.parametrize(
    ("program", "says"),
    [
        ('configmap("same")\nconfigmap("same")', "two resources are named same"),
        (
            'configmap("a")\nk8s.core.v1.ConfigMap("b", metadata={"name": "a", "namespace": "ml"})',
            "configmap/a in ml is registered twice, as a and as b",
        ),
        ('k8s.core.v1.ConfigMap("anonymous", data={})', "anonymous .* has no metadata.name"),
        ('k8s.core.v1.ConfigMap("gen", metadata={"generateName": "x-"})', "gen .* has no metadata.name"),
        ('pulumi.CustomResource("aws:s3:Bucket", "bucket", {})', "bucket .* is no plain Kubernetes object"),
        ('k8s.core.v1.ConfigMap.get("live", "ml/x")', "live .* reads a live object"),
    ],
)
def test_refused(make: Any, program: str, says: str) -> None:
    with pytest.raises(InputError, match=says):
        make(program)


def test_all_problems_are_told_at_once(make: Any) -> None:
    with pytest.raises(InputError) as caught:
        make('k8s.core.v1.ConfigMap("one")\nk8s.core.v1.ConfigMap("two")')
    assert "one" in str(caught.value)
    assert "two" in str(caught.value)


def test_errors_for_people_come_through_as_they_are(make: Any) -> None:
    with pytest.raises(InputError, match="p99 of 1ms") as caught:
        make(
            """
            from headroom.errors import InputError
            configmap("before")
            raise InputError("p99 of 1ms cannot be met", fix="ask for more")
            """
        )
    assert caught.value.fix == "ask for more"


def test_errors_for_people_come_through_a_wrapper(make: Any) -> None:
    with pytest.raises(InputError, match=r"^the reason$"):
        make(
            """
            from headroom.errors import InputError
            try:
                raise InputError("the reason")
            except InputError as error:
                raise pulumi.RunError("wrapped") from error
            """
        )


def test_errors_in_apply_are_raised(make: Any) -> None:
    with pytest.raises(ZeroDivisionError):
        make('configmap("a", None, x=configmap("b").metadata.name.apply(lambda _: 1 / 0))')


def test_a_failure_leaves_nothing_for_the_next_run(make: Any) -> None:
    with pytest.raises(RuntimeError):
        make('configmap("a")\nraise RuntimeError("x")')
    path, here = list(sys.path), Path.cwd()
    assert [o.logical_name for o in make('configmap("b")').objects] == ["b"]
    assert sys.path == path
    assert Path.cwd() == here


def test_the_same_run_twice_is_equal(make: Any) -> None:
    program = 'Group("g", "a", "b")\nconfigmap("c", None, n="1")'
    assert make(program) == make(program)


def test_modules_of_a_project_are_its_own(make: Any) -> None:
    program = "import sizes\nconfigmap(sizes.NAME)"
    assert make(program, files={"sizes.py": "NAME = 'first'"}).objects[0].logical_name == "first"
    assert make(program, files={"sizes.py": "NAME = 'second-one'"}).objects[0].logical_name == "second-one"


async def test_inside_a_running_event_loop(make: Any) -> None:
    assert asyncio.get_running_loop().is_running()
    assert len(make('configmap("a")').objects) == 1


def test_unknown_stack_names_those_there_are(make: Any, tmp_path: Path) -> None:
    make('configmap("a")')
    with pytest.raises(InputError, match="choose one of test"):
        render(tmp_path / "project", "prod")


@pytest.mark.parametrize("text", ["config: [1]", "- a", "config: {a: ]"])
def test_a_broken_stack_file_is_the_users_error(make: Any, tmp_path: Path, text: str) -> None:
    make('configmap("a")')
    file = tmp_path / "other.yaml"
    file.write_text(text)
    with pytest.raises(InputError, match=r"other\.yaml"):
        render(tmp_path / "project", "test", config_file=file)


def test_pulumi_is_not_imported_until_it_is_needed() -> None:
    check = (
        "import sys; import headroom.engine, headroom.engine.render, headroom.engine.select, headroom.engine.kubectl;"
        "print([m for m in sys.modules if m.split('.')[0] in ('pulumi', 'pulumi_kubernetes', 'grpc')])"
    )
    out = subprocess.run([sys.executable, "-c", check], check=True, capture_output=True, text=True).stdout
    assert out.strip() == "[]"
