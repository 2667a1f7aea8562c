"""`headroom rollback` on a real API server: the cluster and the stack file go back together."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.engine.kubectl import KubectlEngine

pytestmark = pytest.mark.cluster


def image(site: Any) -> str:
    return str(site.get("deployment", "inference")["spec"]["template"]["spec"]["containers"][0]["image"])


def edit(site: Any, old: str, new: str) -> None:
    text = site.file.read_text()
    assert old in text
    site.file.write_text(text.replace(old, new))


def test_a_stack_goes_back_and_the_file_with_it(site: Any) -> None:
    first = site.file.read_text()
    edit(site, "targetRps: 250", "targetRps: 350")
    site.ok("up")
    assert site.bounds == (3, 6)
    asked = site.run("rollback")
    assert "nobody is there to confirm it" in str(asked.exception)
    assert f"update    HorizontalPodAutoscaler {site.namespace}/inference-hpa" in asked.stdout  # the preview came first
    assert site.bounds == (3, 6)
    site.ok("rollback", "--yes")
    assert site.bounds == (3, 4)
    assert site.file.read_text() == first
    listed = site.ok("rollback", "--list").stdout
    assert [line.split()[-2:] for line in listed.splitlines()] == [
        ["up", "healthy"],
        ["up", "left"],
        ["rollback", "healthy"],
    ]
    nowhere = site.run("rollback", "--yes")
    assert "no earlier deployment that got ready" in str(nowhere.exception)
    site.ok("rollback", "--to", "2", "--yes")
    assert site.bounds == (3, 6)


def test_one_service_goes_back_and_the_rest_stays(site: Any) -> None:
    edit(site, "inference:0.1.0 # ours", "inference:0.2.0 # ours")
    site.ok("up")
    # What is not of the service stays, deployed or not.
    edit(site, "max: 2", "max: 3")
    site.ok("rollback", "inference", "--yes")
    assert image(site).endswith(":0.1.0")
    text = site.file.read_text()
    assert "inference:0.1.0 # ours" in text
    assert "max: 3" in text
    maps = site.kubectl.items("configmaps", site.namespace, "app=inference")
    assert len(maps) == 1


def test_an_up_that_fails_is_no_place_to_go_back_to(site: Any) -> None:
    """The API server refuses more than 256 KiB of annotations on an object, which the stack file may say."""
    good = site.file.read_text()
    many = ", ".join(f"example.org/n{n}: {'x' * 4096}" for n in range(65))
    edit(site, "      preset: fastapi\n", f"      preset: fastapi\n      service: {{ annotations: {{ {many} }} }}\n")
    refused = site.run("up")
    assert refused.exit_code != 0
    assert "the API server refuses these" in str(refused.exception)
    assert states(site) == ["healthy", "failed"]
    site.file.write_text(good)
    edit(site, "targetRps: 250", "targetRps: 350")
    site.ok("up")
    assert states(site) == ["healthy", "failed", "healthy"]
    site.ok("rollback", "--yes")
    assert site.file.read_text() == good
    assert "nothing to change" in site.ok("up").stdout


def test_an_up_that_is_stopped_says_how_to_go_back(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    good = site.file.read_text()
    edit(site, "targetRps: 250", "targetRps: 350")

    def stopped(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(KubectlEngine, "up", stopped)
        done = site.run("up")
    assert done.exit_code != 0
    assert f"headroom rollback --name {site.cluster.name} --stack {site.namespace}" in " ".join(done.stderr.split())
    assert states(site) == ["healthy", "failed"]
    site.ok("rollback", "--yes")
    assert site.file.read_text() == good
    assert states(site) == ["healthy", "left", "healthy"]


def states(site: Any) -> list[str]:
    """Of all revisions, the oldest first."""
    return [line.split()[-1] for line in site.ok("rollback", "--list").stdout.splitlines()]


def test_where_nothing_is_recorded_a_service_goes_back_by_its_deployment(site: Any) -> None:
    edit(site, "inference:0.1.0 # ours", "inference:0.2.0 # ours")
    site.ok("up")
    site.kubectl.run("delete", "configmap", "headroom-history", "-n", site.namespace)
    whole = site.run("rollback", "--yes")
    assert "no deployment of stack runbook-cpu is recorded" in str(whole.exception)
    done = site.ok("rollback", "inference", "--yes")
    assert "inference:0.2.0 → localhost/headroom/inference:0.1.0" in done.stdout
    assert image(site).endswith(":0.1.0")
    assert "inference:0.1.0 # ours" in site.file.read_text()
    site.ok("up")
    assert image(site).endswith(":0.1.0")
