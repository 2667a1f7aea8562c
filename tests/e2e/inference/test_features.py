"""`headroom features load` into a real shard, by both ways there, and the service that answers from it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.e2e


def test_what_was_loaded_is_served(site: Any) -> None:
    with httpx.Client(base_url=site.url, timeout=30) as client:
        ready = client.get("/health/ready").json()
        assert (ready["features"], ready["cache"]) == ("postgresql", "redis")
        answer = client.post("/predict", json={"entity_id": "entity-0019"})
        assert answer.status_code == 200, answer.text
        assert answer.json()["prediction"] == 1  # scikit-learn's own class of that row
        assert client.post("/predict", json={"entity_id": "entity-0000"}).json()["prediction"] == 0
        assert client.post("/predict", json={"entity_id": "nobody"}).status_code == 404


def test_through_a_port_forward_as_on_any_cluster(
    site: Any, rows: list[list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = site.features([f"forward-{n}" for n in range(50)], rows)
    monkeypatch.setenv("KUBECONFIG", str(site.cluster.kubeconfig))
    monkeypatch.setenv("PATH", f"{site.cluster.kubectl.parent}:{os.environ['PATH']}")
    where = ("--stack", "inf", "--config", str(site.file), "--context", site.cluster.context)
    done = site.headroom("features", "load", str(file), *where, stack=False)
    assert done.exit_code == 0, done.output
    assert "50 entities are in the shards of context" in done.output
    with httpx.Client(base_url=site.url, timeout=30) as client:
        assert client.post("/predict", json={"entity_id": "forward-7"}).status_code == 200


@pytest.mark.slow
def test_a_killed_load_goes_on_where_it_was(site: Any, rows: list[list[str]]) -> None:
    names = [f"many-{n}" for n in range(150_000)]
    file = site.features(names, [row[:4] for row in rows])
    command = [str(Path(sys.executable).parent / "headroom"), "features", "load", str(file)]
    command += ["--stack", "inf", "--config", str(site.file), "--name", site.cluster.name]
    journals = site.cluster.state.parent / ".feature-loads"
    began = time.time()
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    site.until(lambda: any(f.stat().st_mtime >= began for f in journals.glob("*.json")), "a first note", 300)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert count(site, "many-%") < len(names)
    again = site.headroom("features", "load", str(file))
    assert again.exit_code == 0, again.output
    assert "by the run before" in again.output
    assert count(site, "many-%") == len(names)


def count(site: Any, pattern: str) -> int:
    """Entities of that name in all buckets of the shard, asked inside its primary."""
    text = "SELECT string_agg(format('SELECT entity_id FROM b%s.features', lpad(n::text, 3, '0')), ' UNION ALL ') "
    text += "FROM generate_series(0, 255) AS n"
    leader = site.kubectl.get("configmap", "pg-shard-0-leader", "-n", "inf")["metadata"]["annotations"]["leader"]

    def sql(statement: str) -> str:
        command = ["psql", "-U", "postgres", "-d", "features", "-XAtqc", statement]
        return str(site.kubectl.run("exec", "-n", "inf", leader, "-c", "postgres", "--", *command).stdout.strip())

    return int(sql(f"SELECT count(*) FROM ({sql(text)}) AS every WHERE entity_id LIKE '{pattern}'"))  # noqa: S608
