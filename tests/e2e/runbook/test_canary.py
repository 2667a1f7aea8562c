"""`headroom canary`, `rollback` and `maintenance` on real pods, under requests that are counted."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from headroom.errors import EnvironmentFailure
from headroom.local import addons, containers, images
from headroom.ops import prometheus
from headroom.progress import Silent

pytestmark = pytest.mark.e2e

FAILING = "localhost/nobody/fails:1.0.0"


@pytest.mark.parametrize(
    "image",
    ["localhost/nobody/has-this:1.0.0", pytest.param("localhost/headroom/pgbouncer:0.1.0", marks=pytest.mark.slow)],
)
def test_a_broken_image_is_taken_away_by_itself(shop: Any, image: str) -> None:
    """One that cannot be pulled, and one whose program ends: it is another's."""
    text, pods = shop.file.read_text(), shop.pods()
    with shop.clients() as served:
        done = shop.run("canary", "start", "inference", "--image", image, "--weight", "10%", "--watch", "10s")
    assert done.exit_code == 1
    assert "the canary was worse and is gone" in str(done.exception)
    assert shop.get("deployment", "inference-canary") is None
    assert shop.file.read_text() == text
    assert shop.pods() == pods
    assert served.answers and not served.failures, served


def failing(archive: Path) -> Path:
    """Our image, its pods ready and without a store that answers: nothing but its requests tells that it is broken."""
    with tarfile.open(images.build("inference", Silent())) as ours, tarfile.open(archive, "w") as changed:

        def read(name: str) -> Any:
            return json.load(ours.extractfile(name))  # type: ignore[arg-type]

        def write(name: str, what: Any) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(text := json.dumps(what).encode())
            changed.addfile(member, io.BytesIO(text))

        manifest = read("manifest.json")[0]
        config = read(manifest["Config"])
        config["config"]["Env"].append("DATABASE_URL=postgresql://nobody@127.0.0.1:1/features")
        write("config.json", config)
        for layer in manifest["Layers"]:
            changed.addfile(ours.getmember(layer), ours.extractfile(layer))
        write("manifest.json", [{"Config": "config.json", "RepoTags": [FAILING], "Layers": manifest["Layers"]}])
    return archive


@pytest.mark.slow
def test_an_image_that_fails_its_requests_is_taken_away_by_what_prometheus_says(shop: Any, tmp_path: Path) -> None:
    addons.install(shop.cluster, [addons.Addon.monitoring])
    containers.import_image(shop.cluster, failing(tmp_path / "failing.tar"), FAILING)
    text, pods = shop.file.read_text(), shop.pods()

    def known() -> Any:
        asked = 'count by (pod) (http_requests_total{namespace="runbook"})'
        try:
            return pods <= {s.labels["pod"] for s in prometheus.query(shop.kubectl, asked)}
        except EnvironmentFailure:
            return False

    with shop.clients(rate=20) as served:
        shop.until(known, "requests in Prometheus")
        before = len(served.failures)
        done = shop.run("canary", "start", "inference", "--image", FAILING, "--weight", "10%", "--watch", "2m")
        meanwhile = len(served.failures)
    assert done.exit_code == 1
    assert "those that Prometheus has" in done.stderr
    assert "the canary was worse and is gone: error rate" in str(done.exception)
    assert shop.get("deployment", "inference-canary") is None
    assert shop.file.read_text() == text
    assert shop.pods() == pods
    assert before == 0
    assert meanwhile > 0  # those that it got, until it was found out
    assert shop.asked() == 404


@pytest.mark.slow
def test_a_good_image_is_compared_and_promoted(shop: Any) -> None:
    image = "localhost/headroom/inference:0.1.1"  # the same program under another version
    with shop.clients(rate=20) as served:
        done = shop.ok("canary", "start", "inference", "--image", image, "--weight", "50%", "--watch", "30s")
        assert "canary" in done.stdout and "requests" in done.stdout
        assert not done.stdout.rstrip().startswith("worse")
        shop.ok("canary", "promote", "inference")
    assert shop.get("deployment", "inference-canary") is None
    assert f"image: {image} # ours" in shop.file.read_text()
    assert served.answers and not served.failures, served


def test_a_rollback_restores_service(shop: Any) -> None:
    """Its pods get ready and then fail every request, which no rollout can see."""
    good = shop.file.read_text()
    assert shop.asked() == 404
    shop.file.write_text(good + '      env: { DATABASE_URL: "postgresql://nobody@127.0.0.1:1/features" }\n')
    shop.ok("up")
    assert shop.asked() >= 500
    shop.ok("rollback", "inference", "--yes")
    assert shop.asked() == 404
    assert shop.file.read_text() == good


@pytest.mark.slow
def test_an_up_that_hangs_is_stopped_and_rolled_back(shop: Any) -> None:
    good = shop.file.read_text()
    broken = good.replace("localhost/headroom/inference:0.1.0", "localhost/nobody/has-this:1.0.0")
    shop.file.write_text(broken)
    where = ["--stack", "runbook", "--name", shop.cluster.name, "--config", str(shop.file)]
    command = [str(Path(sys.executable).with_name("headroom")), "up", *where]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        shop.until(lambda: _cannot_pull(shop), "a pod that cannot be pulled")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130
    assert "failed" in shop.ok("rollback", "--list").stdout
    shop.ok("rollback", "--yes")
    assert shop.asked() == 404
    assert shop.file.read_text() == good
    assert not _cannot_pull(shop)


@pytest.mark.slow
def test_maintenance_takes_it_down_and_back(shop: Any) -> None:
    shop.ok("maintenance", "on", "inference")
    assert shop.pods() == set()
    shop.ok("up")
    assert shop.pods() == set()
    shop.ok("maintenance", "off", "inference")
    assert shop.asked() == 404


def _cannot_pull(shop: Any) -> bool:
    for pod in shop.kubectl.items("pods", "runbook", "app=inference"):
        for container in pod.get("status", {}).get("containerStatuses", []):
            if "Pull" in container.get("state", {}).get("waiting", {}).get("reason", ""):
                return True
    return False
