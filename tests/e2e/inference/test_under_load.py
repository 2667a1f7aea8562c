"""Load on real pods while they come, go, are too few, and lose their database."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from headroom.local import faults
from headroom.ops import load
from headroom.progress import Silent

pytestmark = pytest.mark.e2e

NAMESPACE = "inf"
DEADLINE_S = 10.0
PROMISED_S = 1.0
BATCH_LIMIT = 64
SAMPLE = [f"entity-{n:04d}" for n in range(569)]
# A server's own deadline, and what a machine that does everything at once adds to it.
PATIENCE_S = 5.0


def predict(names: list[str]) -> load.Shape:
    return load.Shape("/predict", tuple(json.dumps({"entity_id": name}) for name in names), timeout_s=30)


def nothing_failed(site: Any, found: load.Reading) -> None:
    """Every request was served; what the generator could not send on a busy machine is no failure of theirs."""
    assert (found.refused, found.unknown, found.failed, found.silent) == (0, 0, 0, 0), f"{found}\n{site.failures()}"
    assert found.accepted > 0.8 * found.rate * found.seconds


def test_pods_end_under_load_and_no_request_fails(site: Any) -> None:
    """Deleted, so the kubelet sleeps, sends SIGTERM and waits; the other pod and the successor take over."""
    before = set(site.pods())
    with site.loaded(predict(SAMPLE), rate=30, seconds=45) as running:
        site.kubectl.run("delete", "pod", "-n", NAMESPACE, min(before), "--wait=false")
        site.until(
            lambda: (
                len(pods := site.pods()) == len(before) and min(before) not in pods and all(map(ready, pods.values()))
            ),
            "a successor is ready",
        )
    nothing_failed(site, running.result())


def test_at_target_keeps_and_misses_what_a_stack_file_promises(site: Any, tmp_path: Path) -> None:
    kept = site.headroom("load", "inference", "--at-target", "--duration", "10s", "--warm-up", "3s")
    assert kept.exit_code == 0, kept.output
    # A promise that the plan believes and no pod can keep: an answer within 50 microseconds.
    config = json.loads(site.file.read_text())
    service = config["config"]["headroom:services"]["inference"]
    service["demand"] = {"targetRps": 20, "latency": {"p99": "50us"}}
    service["profile"] |= {"serviceTime": "10us", "serviceTimeCv": 0}
    file = tmp_path / "Pulumi.inf.yaml"
    file.write_text(json.dumps(config))
    where = ("--stack", "inf", "--config", str(file), "--name", site.cluster.name)
    missed = site.headroom(
        "load", "inference", "--at-target", "--duration", "5s", "--warm-up", "0s", *where, stack=False
    )
    assert missed.exit_code == 1, missed.output
    assert "missed: the p99 is" in missed.output


@pytest.mark.slow
def test_the_profile_of_a_pod_is_found_and_can_be_pasted(site: Any) -> None:
    done = site.headroom("load", "inference")
    assert done.exit_code == 0, done.output
    print(done.stdout)  # the figures, for whoever asks with -s
    lines = done.stdout[done.stdout.index("profile:") :]
    measured = yaml.safe_load(lines)["profile"]
    assert {"rpsPerPod", "serviceTime", "serviceTimeCv", "cpuTime", "workerThreads"} == set(measured)
    config = json.loads(site.file.read_text())
    config["config"]["headroom:services"]["inference"]["profile"] |= measured
    site.file.with_name("Pulumi.found.yaml").write_text(json.dumps(config))
    planned = site.headroom(
        "plan", "--stack", "found", "--config", str(site.file.with_name("Pulumi.found.yaml")), stack=False
    )
    assert planned.exit_code == 0, planned.output


@pytest.mark.slow
def test_a_rolling_update_and_a_canary_under_load_fail_no_request(site: Any) -> None:
    before = set(site.pods())
    with site.loaded(predict(SAMPLE), rate=20, seconds=240) as running:
        site.up(env={"CACHE_ENTRIES": "9999"})
        assert not before & set(site.pods()), "every pod is a new one"
        site.up(env={"CACHE_ENTRIES": "9999"}, canary={"image": "localhost/headroom/inference:0.1.0", "weight": 0.5})
        assert any(p["metadata"]["labels"].get("headroom.dev/track") == "canary" for p in site.pods().values())
        site.up(env={"CACHE_ENTRIES": "9999"})
    nothing_failed(site, running.result())


@pytest.mark.slow
def test_three_times_what_it_can_carry(site: Any) -> None:
    """Requests so heavy that the model, not the client, is what is short: every entity of the sample in each.

    The queue is as long as the plan has it for what was measured and a p99 of PROMISED_S.
    """
    shape = load.Shape("/predict/batch", (json.dumps({"entity_ids": SAMPLE}),), timeout_s=30)
    warm(site, SAMPLE)
    capacity = asyncio.run(saturate(site.url, shape, clients=4, seconds=10))
    assert capacity > 0, site.failures()
    parts = math.ceil(len(SAMPLE) / BATCH_LIMIT)  # what the model, and so the queue, gets of each
    limit = int(capacity / len(site.pods()) * parts * PROMISED_S)
    site.up(override={"queueLimit": {"value": limit, "because": "measured"}})
    warm(site, SAMPLE)
    generator = load.Generator.ready(Silent())
    generator.run(site.url, shape, 3 * capacity, 10, Silent())  # its caches and buffers have their size then
    memory, before = used_bytes(site), slower_than(site, shape.path)
    found = generator.run(site.url, shape, 3 * capacity, 30, Silent())
    inside = {bound: count - before[bound] for bound, count in slower_than(site, shape.path).items()}
    # What a generator on the same cores sees is its own wait for them, too.
    p99_s = min(bound for bound, count in inside.items() if count <= found.accepted / 100)
    print(
        f"{capacity:.0f} a second from four clients, {limit} parts may wait; p99 inside the pods <= {p99_s} s; {found}"
    )  # with -s
    assert found.accepted > 0.3 * capacity * found.seconds
    # What the generator, which shares the machine, could not send at that rate tells nothing of the service.
    assert found.refused > (found.due - found.unsent) / 3
    # Nothing hangs, nothing is late, nothing else goes wrong: it is served within its deadline, or told to return.
    assert (found.unknown, found.failed, found.silent) == (0, 0, 0), f"{found}\n{site.failures()}"
    assert found.p99_ms < 1000 * (DEADLINE_S + PATIENCE_S)
    after = used_bytes(site)
    assert set(after) == set(memory)
    assert all(after[pod] - memory[pod] < 64 * 2**20 for pod in after), (memory, after)
    assert all(
        status["restartCount"] == 0 for pod in site.pods().values() for status in pod["status"]["containerStatuses"]
    )
    assert httpx.post(f"{site.url}/predict", json={"entity_id": SAMPLE[0]}, timeout=30).status_code == 200


@pytest.mark.slow
def test_the_primary_fails_over_under_load(site: Any, rows: list[list[str]]) -> None:
    """Entities that are cached are served all the time; the others fail within their deadline, and then no more."""
    fresh = [f"fresh-{n}" for n in range(1000)]
    done = site.headroom("features", "load", str(site.features(fresh, rows)))
    assert done.exit_code == 0, done.output
    cached = SAMPLE[:50]
    warm(site, cached)
    leader = primary(site)
    with site.loaded(predict(cached), rate=20, seconds=60) as running:
        outcome = asyncio.run(watch(site, fresh, leader))
    nothing_failed(site, running.result())
    assert primary(site) != leader
    statuses = [status for status, _ in outcome]
    assert set(statuses) <= {200, 503, 504}, statuses
    assert statuses.count(200) < len(statuses), "the failover was not felt: nothing was shown"
    assert max(took for _, took in outcome) < 1 + PATIENCE_S
    assert statuses[-20:] == [200] * 20


def warm(site: Any, names: list[str]) -> None:
    """Have their features in the cache."""
    for start in range(0, len(names), 50):
        body = {"entity_ids": names[start : start + 50]}
        site.until(
            lambda body=body: httpx.post(f"{site.url}/predict/batch", json=body, timeout=30).status_code == 200,
            "features are served",
        )


async def watch(site: Any, fresh: list[str], leader: str) -> list[tuple[int, float]]:
    """Ask for an entity that nobody asked for yet, ten a second; kill the primary; until twenty in a row are served."""
    answers: list[tuple[int, float]] = []
    async with httpx.AsyncClient(base_url=site.url, timeout=60) as client:

        async def ask(name: str) -> None:
            began = time.monotonic()
            answer = await client.post("/predict", json={"entity_id": name}, headers={"X-Deadline-Ms": "1000"})
            answers.append((answer.status_code, time.monotonic() - began))

        asking: list[asyncio.Task[None]] = []
        for number, name in enumerate(fresh):
            asking.append(asyncio.create_task(ask(name)))
            if number == 20:
                await asyncio.gather(*asking)
                assert {status for status, _ in answers} == {200}
                await asyncio.to_thread(faults.kill, site.cluster, NAMESPACE, leader)
            recovered = number > 60 and [status for status, _ in answers[-20:]] == [200] * 20
            if recovered and any(status != 200 for status, _ in answers):
                break
            await asyncio.sleep(0.1)
        await asyncio.gather(*asking)
    return answers


async def saturate(url: str, shape: load.Shape, clients: int, seconds: float) -> float:
    """Requests a second that so few clients get who each wait for their answer: fewer than the queue holds."""
    served = 0
    until = time.monotonic() + seconds
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def one() -> None:
            nonlocal served
            while time.monotonic() < until:
                answer = await client.post(shape.path, content=shape.bodies[0])
                served += answer.status_code == 200

        began = time.monotonic()
        await asyncio.gather(*(one() for _ in range(clients)))
    return served / (time.monotonic() - began)


def used_bytes(site: Any) -> dict[str, int]:
    """Resident memory of each pod's process, by its own metrics."""
    found = {}
    for name in site.pods():
        told = site.kubectl.raw(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:8080/proxy/metrics").stdout
        [line] = [line for line in told.splitlines() if line.startswith("process_resident_memory_bytes ")]
        found[name] = int(float(line.split()[1]))
    return found


def slower_than(site: Any, path: str) -> dict[float, int]:
    """Requests that took longer than each bound in seconds, by the pods' own histograms."""
    labels = rf'le="([^"]+)",method="POST",path="{re.escape(path)}"'
    series = re.compile(rf"^http_request_duration_seconds_bucket{{{labels}}} (\S+)$", re.MULTILINE)
    found: Counter[float] = Counter()
    for name in site.pods():
        told = site.kubectl.raw(f"/api/v1/namespaces/{NAMESPACE}/pods/{name}:8080/proxy/metrics").stdout
        within = {float(bound): int(float(count)) for bound, count in series.findall(told)}
        found.update({bound: within[math.inf] - count for bound, count in within.items()})
    return dict(found)


def primary(site: Any) -> str:
    found = site.kubectl.get("configmap", "pg-shard-0-leader", "-n", NAMESPACE)
    return str(found["metadata"]["annotations"]["leader"])


def ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions") or [])
