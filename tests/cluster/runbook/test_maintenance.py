"""`headroom maintenance` on a real API server: no pods, an autoscaler that lets it be, and the way back."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = pytest.mark.cluster

PAUSED = "autoscaling.keda.sh/paused-replicas"


def pods(site: Any) -> int:
    return len(site.kubectl.items("pods", site.namespace, "app=inference"))


def test_down_stays_down_through_an_up_and_comes_back(site: Any) -> None:
    text = site.file.read_text()
    site.ok("maintenance", "on", "inference")
    assert (site.replicas, pods(site)) == (0, 0)
    assert "      maintenance: true" in site.file.read_text().splitlines()
    assert site.bounds == (3, 4)  # its own are refused below 1; it is suspended by the Deployment's 0

    assert "nothing to change" in site.ok("up").stdout
    assert (site.replicas, pods(site)) == (0, 0)
    assert "nothing to change" in site.ok("maintenance", "on").stdout
    refused = site.run("scale", "inference", "--to", "5", "--because", "x")
    assert "is in maintenance" in str(refused.exception)

    site.ok("maintenance", "off", "inference")
    assert site.replicas == 3
    assert site.file.read_text() == text
    assert "nothing to change" in site.ok("up").stdout


def test_under_keda_the_scaled_object_is_paused(keda: Any) -> None:
    keda.ok("maintenance", "on")
    assert keda.get("scaledobject", "inference-hpa")["metadata"]["annotations"][PAUSED] == "0"
    assert pods(keda) == 0
    keda.ok("maintenance", "off")
    assert PAUSED not in keda.get("scaledobject", "inference-hpa")["metadata"].get("annotations", {})
    assert keda.replicas == 3


def test_prod_is_refused_and_with_its_word_ended_by_an_up(prod: Any) -> None:
    refused = prod.run("maintenance", "on", "inference", "--yes")
    assert "--yes-prod" in str(refused.exception)
    assert prod.replicas == 3
    text = prod.file.read_text()
    done = prod.ok("maintenance", "on", "inference", "--yes-prod")
    assert "the next `headroom up` ends it" in done.stdout
    assert (prod.replicas, pods(prod), prod.file.read_text()) == (0, 0, text)
    prod.ok("up")
    assert prod.replicas >= 1
    prod.ok("maintenance", "on", "inference", "--yes-prod")
    prod.ok("maintenance", "off", "inference", "--yes")
    assert prod.replicas == 3
