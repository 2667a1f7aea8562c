"""Alert rules and dashboards go with a stack in the form that its file names, and not at all where it names none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from headroom.engine.rendered import Rendered
from headroom.errors import InputError
from headroom.local.addons import prometheus

Config = dict[str, Any]


@pytest.fixture
def with_monitoring(config: Callable[[str], Config], render_config: Callable[..., Rendered]) -> Callable[..., Rendered]:
    """The stack dev with these settings."""

    def go(**settings: Any) -> Rendered:
        return render_config({**config("dev"), "headroom:monitoring": settings})

    return go


def ours(stack: Rendered) -> dict[str, Config]:
    label = "app.kubernetes.io/component"
    return {
        f"{o.id.kind}/{o.id.name}": o.manifest
        for o in stack.objects
        if o.manifest["metadata"]["labels"].get(label) == "monitoring"
    }


def test_none_without_asking(stack: Rendered) -> None:
    assert ours(stack) == {}


def test_rules_for_the_operator(with_monitoring: Callable[..., Rendered]) -> None:
    url = "https://wiki.example/runbook"
    made = ours(with_monitoring(alerts="prometheusRule", labels={"release": "kps"}, runbookUrl=url))
    assert set(made) == {"PrometheusRule/headroom-alerts"}
    rule = made["PrometheusRule/headroom-alerts"]
    assert rule["metadata"]["labels"]["release"] == "kps"
    groups = rule["spec"]["groups"]
    assert {g["name"] for g in groups} >= {"headroom-dev-services", "headroom-dev-postgres", "headroom-dev-redis"}
    urls = {r["annotations"]["runbook_url"] for g in groups for r in g["rules"]}
    assert f"{url}#postgresnoprimary" in urls
    assert all(u.startswith(f"{url}#") for u in urls)


def test_rules_for_a_sidecar_are_the_same(with_monitoring: Callable[..., Rendered]) -> None:
    made = ours(with_monitoring(alerts="configMap"))
    (map_,) = made.values()
    assert map_["metadata"]["labels"]["prometheus_rule"] == "1"
    ((name, text),) = map_["data"].items()
    assert name == "headroom-dev.yaml"
    operator = ours(with_monitoring(alerts="prometheusRule"))["PrometheusRule/headroom-alerts"]
    assert json.loads(text)["groups"] == operator["spec"]["groups"]


def test_dashboards_of_every_part_for_the_sidecar(with_monitoring: Callable[..., Rendered]) -> None:
    made = ours(with_monitoring(dashboards="configMap"))
    parts = ("services", "postgres", "pgbouncer", "redis", "h2o")
    assert set(made) == {f"ConfigMap/headroom-{part}" for part in parts}
    for map_ in made.values():
        assert map_["metadata"]["labels"]["grafana_dashboard"] == "1"
        (text,) = map_["data"].values()
        assert json.loads(text)["title"].startswith("Headroom")


def test_every_annotation_of_a_pod_is_one_that_prometheus_is_told_of(stack: Rendered) -> None:
    prefix = "prometheus.io/"
    read = json.dumps(prometheus.configuration())
    scraped = 0
    for o in stack.objects:
        annotations = o.manifest.get("spec", {}).get("template", {}).get("metadata", {}).get("annotations") or {}
        scraped += annotations.get(f"{prefix}scrape") == "true"
        for key in annotations:
            if key.startswith(prefix):
                assert f"__meta_kubernetes_pod_annotation_prometheus_io_{key.removeprefix(prefix)}" in read, key
    assert scraped >= 4


def test_pod_monitors_find_the_pods_that_are_annotated_at_the_same_port(
    config: Callable[[str], Config], render_config: Callable[..., Rendered]
) -> None:
    """Of prod, whose services live in two namespaces."""
    stack = render_config({**config("prod"), "headroom:monitoring": {"scrape": "podMonitor"}}, "prod")
    monitors = [m["spec"] for m in ours(stack).values()]
    assert len(monitors) == 5
    annotated = 0
    for o in stack.objects:
        if o.id.kind not in ("Deployment", "StatefulSet"):
            continue
        template = o.manifest["spec"]["template"]
        pod, labels = template["spec"], template["metadata"]["labels"]
        notes = template["metadata"].get("annotations") or {}
        containers = pod["containers"] + pod.get("initContainers", [])
        ports = {port["name"]: str(port["containerPort"]) for c in containers for port in c.get("ports", [])}
        found = [
            (ports[end["port"]], end["path"], end.get("scheme"))
            for spec in monitors
            if spec["selector"]["matchLabels"].items() <= labels.items()
            and o.manifest["metadata"]["namespace"] in spec["namespaceSelector"]["matchNames"]
            for end in spec["podMetricsEndpoints"]
        ]
        keys = ("prometheus.io/port", "prometheus.io/path", "prometheus.io/scheme")
        wanted = [tuple(notes.get(key) for key in keys)] if notes.get("prometheus.io/scrape") else []
        annotated += len(wanted)
        assert found == wanted, o.id.name
    assert annotated == 8


def test_a_form_that_there_is_not(with_monitoring: Callable[..., Rendered]) -> None:
    with pytest.raises(InputError, match=r"monitoring\.alerts"):
        with_monitoring(alerts="grafana")


def test_the_autoscalers_windows_are_the_stack_files(render_services: Callable[..., Rendered]) -> None:
    windows = {"metrics": "resource", "scaleUpWindow": "0s", "scaleDownWindow": "30s"}
    stack = render_services(api={"preset": "fastapi", "autoscaling": windows})
    behaviour = stack.find("HorizontalPodAutoscaler", "api-hpa").manifest["spec"]["behavior"]
    assert behaviour["scaleUp"]["stabilizationWindowSeconds"] == 0
    assert behaviour["scaleDown"]["stabilizationWindowSeconds"] == 30
    with pytest.raises(InputError, match="scaleDownWindow"):
        render_services(api={"preset": "fastapi", "autoscaling": {"scaleDownWindow": "2h"}})
