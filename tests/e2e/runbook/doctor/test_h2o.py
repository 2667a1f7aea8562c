"""An H2O cloud that is locked, one whose heap is full, and one that lost a node, on real pods."""

from __future__ import annotations

import base64
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from headroom import local
from headroom.cli.main import application
from headroom.engine.model import Target
from headroom.local import faults

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

NAMESPACE = "cloud"


def test_a_cloud_that_is_locked_then_full_and_one_that_is_short(cluster: local.Cluster, tmp_path: Path) -> None:
    file = tmp_path / "Pulumi.cloud.yaml"
    kubectl = Target.of(cluster).kubectl

    def asking(dataset: str) -> None:
        h2o = {"demand": {"dataset": dataset}, "node": {"memory": "2Gi", "cpu": "100m", "limits": {"cpu": "1"}}}
        config = {"headroom:environment": "local", "headroom:namespace": NAMESPACE, "headroom:h2o": h2o}
        file.write_text(yaml.safe_dump({"config": config}))

    def headroom(*args: str) -> Any:
        where = ["--stack", NAMESPACE, "--name", cluster.name, "--config", str(file)]
        return CliRunner().invoke(application(), [*args, *where])

    def doctor() -> dict[str, dict[str, Any]]:
        found = json.loads(headroom("doctor", "--format", "json").stdout)["findings"]
        return {f["anchor"]: f for f in found}

    asking("200MB")
    up = headroom("up", "--yes")
    try:
        assert up.exit_code == 0, up.output
        assert doctor() == {}

        # It works, which locks it; then the stack file asks for a second node.
        password = base64.b64decode(kubectl.get("secret", "h2o-login", "-n", NAMESPACE)["data"]["h2oUi"]).decode()
        address = kubectl.get("service", "h2o", "-n", NAMESPACE)["spec"]["clusterIP"]
        with httpx.Client(base_url=f"http://{address}:54321", auth=("h2o", password), timeout=60) as client:
            client.get("/3/Frames").raise_for_status()
            assert doctor() == {}
            asking("400MB")
            assert "is a cloud of 1, and 2 nodes are planned" in doctor()["h2o-is-locked"]["symptom"]
            asking("200MB")

            fill(client)
            found = doctor()["h2o-heap-is-full"]
            assert re.fullmatch(r"uses 9\d% of its heap", found["symptom"])
            assert " of 1.0 GiB, frames and models 0.9 GiB" in found["evidence"][0]

        faults.kill(cluster, NAMESPACE, "h2o-cluster-0", "h2o")
        deadline = time.monotonic() + 60
        while "h2o-is-short" not in doctor():
            assert time.monotonic() < deadline, doctor()
        deadline = time.monotonic() + 300
        while said := doctor():  # the guards form it anew
            assert time.monotonic() < deadline, said
    finally:
        headroom("down", "--delete-data", NAMESPACE)


def fill(client: httpx.Client) -> None:
    """Frames of 31 MB, until they alone are more than nine tenths of the heap."""
    numbers = {"rows": 400_000, "cols": 10, "real_range": 100, "factors": 2, "randomize": "true"}
    kinds = ("categorical", "integer", "binary", "string", "time", "missing")
    for number in range(40):
        frame = {"dest": f"frame_{number}", "seed": number, **numbers, **{f"{kind}_fraction": 0 for kind in kinds}}
        made = client.post("/3/CreateFrame", data=frame)
        made.raise_for_status()
        job = f"/3/Jobs/{quote(made.json()['key']['name'], safe='')}"
        while (status := client.get(job).json()["jobs"][0]["status"]) in ("CREATED", "RUNNING"):
            time.sleep(0.2)
        assert status == "DONE", status
        (node,) = client.get("/3/Cloud", params={"skip_ticks": "true"}).json()["nodes"]
        if node["mem_value_size"] > 0.91 * node["max_mem"]:
            return
    pytest.fail("its heap does not fill up")
