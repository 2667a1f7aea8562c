"""The generator itself against servers on loopback whose behaviour is known. Skipped where k6 is not built yet."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headroom.errors import EnvironmentFailure
from headroom.local import binaries
from headroom.ops.load import Generator, Shape
from headroom.ops.load.k6 import reading
from headroom.progress import Silent

Answer = Callable[[bytes], tuple[int, float]]


@pytest.fixture
def generator() -> Generator:
    if not binaries.entry(binaries.K6).is_dir():
        pytest.skip("k6 is not built on this machine: headroom load builds it once")
    return Generator.ready(Silent())


@pytest.fixture
def server() -> Iterator[Callable[[Answer], str]]:
    """Starts an HTTP server: for the n-th body `answer` gives the status and the seconds that it takes."""
    loops: list[asyncio.AbstractEventLoop] = []

    def start(answer: Answer) -> str:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                while head := await reader.readuntil(b"\r\n\r\n"):
                    found = re.search(rb"(?i)content-length: (\d+)", head)
                    status, seconds = answer(await reader.readexactly(int(found[1]) if found else 0))
                    await asyncio.sleep(seconds)
                    writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}".encode())
                    await writer.drain()
            except (asyncio.IncompleteReadError, ConnectionError):
                writer.close()

        loop = asyncio.new_event_loop()
        loops.append(loop)
        listening = loop.run_until_complete(asyncio.start_server(serve, "127.0.0.1", 0, backlog=1000))
        threading.Thread(target=loop.run_forever, daemon=True).start()
        return f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"

    yield start
    for loop in loops:
        loop.call_soon_threadsafe(loop.stop)


def test_every_kind_of_answer_is_counted(generator: Generator, server: Callable[[Answer], str]) -> None:
    url = server(lambda body: (json.loads(body)["status"], 0.0))
    bodies = tuple(json.dumps({"status": status}) for status in (200, 503, 404, 500))
    found = generator.run(url, Shape("/x", bodies), 80, 2, Silent())
    assert found.due == found.accepted + found.refused + found.unknown + found.failed
    assert found.due == pytest.approx(160, abs=2)
    for kind in (found.accepted, found.refused, found.unknown, found.failed):
        assert kind == pytest.approx(40, abs=1)
    assert (found.silent, found.unsent) == (0, 0)


def test_a_pause_of_the_server_is_felt_by_all_who_were_due_in_it(
    generator: Generator, server: Callable[[Answer], str]
) -> None:
    """No coordinated omission: a closed loop of few clients would count one slow answer each, and miss the rest."""
    began = time.monotonic()

    def stalls(_: bytes) -> tuple[int, float]:
        into = (time.monotonic() - began) % 2
        return 200, max(0.0, 1 - into)  # of every 2 s, nothing is answered in the first

    found = generator.run(server(stalls), Shape("/x", ("{}",)), 50, 4, Silent())
    assert found.accepted + found.unsent == pytest.approx(200, abs=3)
    # Half of all were due in a pause, evenly: the median is about 0, and a quarter waited half a second or more.
    assert found.p95_ms > 500
    assert found.mean_ms > 100


def test_requests_without_an_answer_end_by_their_timeout(generator: Generator, server: Callable[[Answer], str]) -> None:
    found = generator.run(server(lambda _: (200, 60.0)), Shape("/x", ("{}",), timeout_s=1), 10, 1, Silent())
    assert found.silent == pytest.approx(10, abs=1)
    assert found.accepted == 0
    gone = generator.run("http://127.0.0.1:1", Shape("/x"), 10, 1, Silent())
    assert gone.silent == pytest.approx(10, abs=1)


def test_the_warm_up_is_not_counted(generator: Generator, server: Callable[[Answer], str]) -> None:
    seen = 0

    def count(_: bytes) -> tuple[int, float]:
        nonlocal seen
        seen += 1
        return 200, 0.0

    found = generator.run(server(count), Shape("/x", ("{}",)), 20, 2, Silent(), warm_s=2)
    assert found.due == pytest.approx(40, abs=2)
    assert seen > found.due


def test_an_interrupted_run_leaves_no_process(tmp_path: Path, generator: Generator) -> None:
    script = (
        "from headroom.ops.load import Generator, Shape\nfrom headroom.progress import Silent\n"
        "class Tell(Silent):\n    def detail(self, text): print(text, flush=True)\n"
        f"from pathlib import Path\nGenerator(Path({str(generator.program)!r})).run("
        "'http://127.0.0.1:1', Shape('/marked-by-this-test'), 5, 60, Tell())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    [child] = subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True
    ).stdout.split()
    process.send_signal(2)
    process.communicate(timeout=30)
    look = ["ps", "-o", "stat=", "-o", "args=", "-p", child]
    left = subprocess.run(look, capture_output=True, text=True, check=False)
    assert "k6" not in left.stdout or left.stdout.startswith("Z"), left.stdout


def test_a_generator_that_fails_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "k6"
    broken.write_text("#!/bin/sh\necho some words >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(EnvironmentFailure, match="k6 failed: some words"):
        Generator(broken).run("http://127.0.0.1:1", Shape("/x"), 5, 1, Silent())


def test_a_summary_without_any_accepted_request() -> None:
    found = reading({"refused": {"values": {"count": 7}}}, 1.0, 7)
    assert (found.refused, found.accepted, found.errors, found.error_share) == (7, 0, 7, 1.0)
    assert found.p99_ms == float("inf")


def test_one_client_waits_for_each_answer(generator: Generator, server: Callable[[Answer], str]) -> None:
    """So its requests never meet: answers of 20 ms are at most 50 a second."""
    asked: list[bytes] = []

    def answer(body: bytes) -> tuple[int, float]:
        asked.append(body)
        return 200, 0.02

    url = server(answer)
    found = generator.run(url, Shape("/x", ("{}",)), None, 2, Silent(), warm_s=1)
    assert found.accepted > 0
    assert found.errors == 0
    assert found.rate == found.rps <= 51  # the last one may end after the two seconds
    assert found.mean_ms >= 20
    assert len(asked) >= found.accepted
