"""Add-ons: never part of a plain cluster, under the restricted standard, and KEDA as its own manifests say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from headroom.errors import InputError
from headroom.local import Cluster, addons, binaries
from headroom.local.addons import custom_metrics, keda, prometheus


def test_a_plain_cluster_builds_none_of_them() -> None:
    assert not {binaries.PROMETHEUS, binaries.KEDA, binaries.KEDA_DEFINITIONS, binaries.CUSTOM_METRICS} & set(
        binaries.ALL
    )


def test_fake_nodes_are_refused_before_anything_is_built(tmp_path: Path) -> None:
    fake = Cluster("one", tmp_path, tmp_path, tmp_path, "fake", "context", "https://nowhere")
    with pytest.raises(InputError, match="fake"):
        addons.install(fake, [addons.Addon.keda])
    addons.install(fake, [])


@pytest.mark.parametrize("made", [prometheus.objects("image"), custom_metrics.objects("image")])
def test_pods_are_restricted_sized_and_bounded(made: list[dict[str, Any]]) -> None:
    (pod,) = (item["spec"]["template"]["spec"] for item in made if item["kind"] == "Deployment")
    assert pod["securityContext"]["runAsNonRoot"]
    (container,) = pod["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert set(container["resources"]) == {"requests", "limits"}
    assert all(volume["emptyDir"]["sizeLimit"] for volume in pod["volumes"] if "emptyDir" in volume)


def test_a_changed_configuration_restarts_prometheus(monkeypatch: pytest.MonkeyPatch) -> None:
    def annotations() -> dict[str, str]:
        (found,) = (
            item["spec"]["template"]["metadata"]["annotations"]
            for item in prometheus.objects("image")
            if item["kind"] == "Deployment"
        )
        return dict(found)

    before = annotations()
    assert annotations() == before
    monkeypatch.setattr(prometheus, "SCRAPE_SECONDS", 30)
    assert annotations() != before


def test_kedas_deployments_run_what_was_built() -> None:
    container = {"image": "ghcr.io/kedacore/keda:main", "imagePullPolicy": "Always", "args": ["--leader-elect"]}
    template = {"metadata": {"labels": {"app": "keda-operator"}}, "spec": {"containers": [container]}}
    item = {"kind": "Deployment", "metadata": {"name": "keda-operator"}, "spec": {"template": template}}
    (made,) = keda.fitted(item, {"keda-operator": "ours"})["spec"]["template"]["spec"]["containers"]
    assert (made["image"], made["imagePullPolicy"], made["args"]) == ("ours", "Never", ["--leader-elect"])
    service = {"kind": "Service", "metadata": {"name": "keda-operator"}}
    assert keda.fitted(dict(service), {}) == service


def test_what_else_is_built_and_its_tags_are_part_of_the_digest() -> None:
    both = binaries.PROMETHEUS
    assert len({binaries.digest(p) for p in (both, binaries.Program(**{**vars(both), "beside": ()}))}) == 2
    assert len({binaries.digest(p) for p in (both, binaries.Program(**{**vars(both), "tags": ()}))}) == 2
