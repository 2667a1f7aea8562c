"""A service on real pods follows its queue, whether an HPA asks an adapter of Prometheus or KEDA asks Prometheus."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from headroom.ops import prometheus

pytestmark = pytest.mark.e2e

BLIND_SECONDS = 60
"""Four looks of the autoscaler, and four times its window."""


def test_prometheus_scrapes_the_service(scaled: Any, eventually: Callable[..., float]) -> None:
    asked = f'request_queue_depth{{namespace="{scaled.namespace}"}}'
    eventually(lambda: prometheus.query(scaled.kubectl, asked), 60, lambda: f"no {asked}")


def test_the_metrics_api_gives_what_the_pods_say(scaled: Any, eventually: Callable[..., float]) -> None:
    """Not canned numbers: an idle pod's queue is empty, and a metric that nobody emits is not there."""
    if scaled.source == "keda":
        eventually(lambda: conditions(scaled).get("Ready") == "True", 60, lambda: str(conditions(scaled)))
        served = scaled.kubectl.raw("/apis/external.metrics.k8s.io/v1beta1")
        assert served.returncode == 0, served.stderr
        return
    pods = f"/apis/custom.metrics.k8s.io/v1beta2/namespaces/{scaled.namespace}/pods/*"
    eventually(lambda: items(scaled, f"{pods}/request_queue_depth"), 60, lambda: "no values")
    assert {i["value"] for i in items(scaled, f"{pods}/request_queue_depth")} == {"0"}
    assert items(scaled, f"{pods}/request_queue_length") == []


def test_replicas_follow_the_queue_and_an_outage_of_its_metric_moves_nothing(
    scaled: Any, eventually: Callable[..., float]
) -> None:
    least, most = (scaled.hpa()["spec"][bound] for bound in ("minReplicas", "maxReplicas"))
    eventually(lambda: scaled.ready() == least, 120, scaled.queue)
    with scaled.load():
        decided = eventually(lambda: scaled.replicas() > least, 180, scaled.queue)
        ready = decided + eventually(lambda: scaled.ready() > least, 120, scaled.queue)
        print(f"\n{scaled.source}: decided {decided:.0f} s after the load began, a new pod Ready after {ready:.0f} s")
        eventually(lambda: scaled.ready() == most, 180, scaled.queue)
        # The queue did it: CPU is at its limit at most, which is its target.
        deep = prometheus.query(scaled.kubectl, f'sum(request_queue_depth{{namespace="{scaled.namespace}"}})')
        assert deep[0].value > 10 * least

    with scaled.without_prometheus():
        end = time.monotonic() + BLIND_SECONDS
        while time.monotonic() < end:
            assert scaled.replicas() == most, scaled.queue()
            time.sleep(2)
    eventually(lambda: scaled.replicas() == least, 300, scaled.queue)


def conditions(scaled: Any) -> dict[str, str]:
    status = scaled.kubectl.get("scaledobject", "inference-hpa", "-n", scaled.namespace).get("status", {})
    return {condition["type"]: condition["status"] for condition in status.get("conditions", [])}


def items(scaled: Any, path: str) -> list[dict[str, Any]]:
    done = scaled.kubectl.raw(path)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout)["items"] or [])
