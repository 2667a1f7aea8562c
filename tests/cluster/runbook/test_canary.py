"""`headroom canary` on a real API server: beside the stable pods, never fought, promoted or gone without a trace."""

from __future__ import annotations

from typing import Any

import pytest

from headroom.engine import record

pytestmark = pytest.mark.cluster

IMAGE = "localhost/headroom/inference:0.2.0"


def start(site: Any, *more: str) -> Any:
    return site.ok("canary", "start", "inference", "--image", IMAGE, "--weight", "10%", "--watch", "0s", *more)


def test_started_kept_by_an_up_and_aborted_without_a_trace(site: Any) -> None:
    text = site.file.read_text()
    done = start(site)
    assert "10 % is 1 canary pod" in done.stdout
    assert "25 % of the connections" in done.stdout
    assert "unknown" in done.stdout  # nothing runs in fake pods
    canary = site.get("deployment", "inference-canary")
    assert canary["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE

    # The Service, the policies and the disruption budget take its pods; the autoscaler's Deployment does not.
    labels = canary["spec"]["template"]["metadata"]["labels"]
    for kind in ("service", "networkpolicy", "pdb"):
        spec = site.get(kind, "inference")["spec"]
        selector = spec.get("podSelector") or spec["selector"]
        assert selector.get("matchLabels", selector).items() <= labels.items(), kind
    stable = site.get("deployment", "inference")["spec"]["selector"]["matchLabels"]
    assert not stable.items() <= labels.items()
    assert site.get("hpa", "inference-hpa")["spec"]["scaleTargetRef"]["name"] == "inference"

    assert "nothing to change" in site.ok("up").stdout
    assert site.get("deployment", "inference-canary") is not None
    assert "runs already" in start(site).stderr
    other = site.run("canary", "start", "inference", "--image", "x:3", "--watch", "0s")
    assert "has a canary already" in str(other.exception)

    site.ok("canary", "abort", "inference")
    assert site.get("deployment", "inference-canary") is None
    assert site.file.read_text() == text
    assert "has no canary" in site.ok("canary", "abort", "inference").stdout
    assert "nothing to change" in site.ok("up").stdout


def test_promoted_it_is_the_image_of_all_and_a_rollback_leads_back(site: Any) -> None:
    start(site)
    site.ok("canary", "promote", "inference")
    assert site.get("deployment", "inference-canary") is None
    deployment = site.get("deployment", "inference")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    assert f"      image: {IMAGE} # ours" in site.file.read_text().splitlines()
    assert "canary" not in site.file.read_text()
    assert "nothing to change" in site.ok("up").stdout
    again = site.run("canary", "promote", "inference")
    assert "has no canary" in str(again.exception)
    site.ok("rollback", "inference", "--yes")
    deployment = site.get("deployment", "inference")
    assert deployment["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":0.1.0")


def test_abort_cleans_up_what_the_file_has_forgotten(site: Any) -> None:
    """The stack file was set back by hand while the canary ran."""
    text = site.file.read_text()
    start(site)
    site.file.write_text(text)
    site.ok("canary", "abort", "inference")
    assert site.get("deployment", "inference-canary") is None
    (found,) = (r for r in record.find(site.kubectl, site.namespace) if r.stack == site.namespace)
    assert not [e for e in found.entries if e.id.name == "inference-canary"]


def test_an_up_prunes_it_when_the_line_is_taken_out_by_hand(site: Any) -> None:
    text = site.file.read_text()
    start(site)
    site.file.write_text(text)
    site.ok("up")
    assert site.get("deployment", "inference-canary") is None


def test_what_cannot_be_a_canary_is_refused_before_anything(site: Any) -> None:
    text = site.file.read_text()
    bad = site.run("canary", "start", "inference", "--image", "Not An Image", "--watch", "0s")
    assert bad.exit_code == 2 and "is not an image reference" in bad.output
    bad = site.run("canary", "start", "inference", "--image", IMAGE, "--weight", "150%")
    assert "above 0 and below 1" in str(bad.exception)
    assert site.file.read_text() == text
