"""An edit changes the objects that it should and no other; no edit changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headroom.engine.render import render, write
from headroom.engine.rendered import Rendered

ROOT = Path(__file__).resolve().parents[2]
Config = dict[str, Any]


def changed(before: Rendered, after: Rendered) -> set[str]:
    """`Kind/name` of what is new, gone or different; a content-hashed ConfigMap by the name it has without its hash."""
    one, two = ({o.id: o.manifest for o in r.objects} for r in (before, after))
    return {
        f"{i.kind}/{i.name.rpartition('-')[0] if i.kind == 'ConfigMap' else i.name}"
        for i in one.keys() | two.keys()
        if one.get(i) != two.get(i)
    }


def pod(stack: Rendered, key: str) -> Any:
    return stack.find("Deployment", key).manifest["spec"]["template"]


def test_rendering_again_gives_the_same_bytes(rendered: Callable[[str], Rendered], tmp_path: Path) -> None:
    for name, stack in (("one", rendered("prod")), ("two", render(ROOT, "prod"))):
        write(stack, tmp_path / name)
    one, two = ({f.name: f.read_bytes() for f in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert one
    assert one == two


def test_a_changed_setting_makes_a_new_config_map_and_rolls_its_pods_only(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    prod = config("prod")
    before = render_config(prod, "prod")
    prod["headroom:services"]["inference"].setdefault("env", {})["LOG_LEVEL"] = "debug"
    after = render_config(prod, "prod")
    assert changed(before, after) == {"ConfigMap/inference-config", "Deployment/inference"}
    assert pod(before, "inference") != pod(after, "inference")
    assert pod(before, "inferadb") == pod(after, "inferadb")


def test_a_changed_size_never_rolls_pods(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    prod = config("prod")
    before = render_config(prod, "prod")
    prod["headroom:services"]["inference"]["safetyMargin"] = 2
    after = render_config(prod, "prod")
    assert after.find("HorizontalPodAutoscaler", "inference-hpa").manifest["spec"]["maxReplicas"] == 20
    services = {c for c in changed(before, after) if "inference" in c}
    assert services <= {"HorizontalPodAutoscaler/inference-hpa"}
    assert "ResourceQuota/headroom-quota" in changed(before, after)
    assert pod(before, "inference") == pod(after, "inference")


def test_what_a_reworded_reason_changes_is_no_pod(render_services: Callable[..., Rendered]) -> None:
    def overridden(because: str) -> Rendered:
        override = {"maxReplicas": {"value": 12, "because": because}}
        return render_services("staging", api={"preset": "fastapi", "override": override})

    before, after = overridden("the launch"), overridden("the second launch")
    assert "HorizontalPodAutoscaler/api-hpa" in changed(before, after)
    assert pod(before, "api") == pod(after, "api")


def test_a_service_more_touches_nothing_of_the_others(render_services: Callable[..., Rendered]) -> None:
    before = render_services(one={"preset": "fastapi"})
    after = render_services(one={"preset": "fastapi"}, two={"preset": "fastapi"})
    assert {c for c in changed(before, after) if c.rpartition("/")[2].startswith("one")} == set()
    assert "Deployment/two" in changed(before, after)
