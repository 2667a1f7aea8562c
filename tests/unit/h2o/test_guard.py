"""The guard with a clock, a node and peers of the test's own."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from headroom_h2o import node, peers
from headroom_h2o.guard import Guard
from headroom_h2o.membership import Member
from headroom_h2o.process import Shared
from headroom_h2o.settings import Settings

ROOT = Path(__file__).resolve().parents[3]
PASSWORD = "correct-horse-battery-staple"


class World:
    """A clock, one peer that does as the guard does, and this node's process."""

    def __init__(self, folder: Path) -> None:
        self.run = folder / "run"
        self.run.mkdir()
        (folder / "login").mkdir()
        (folder / "login" / "h2oUi").write_text(PASSWORD + "\n")
        self.settings = Settings(
            "h2o-cluster-0", "10.0.0.1", "ml", "h2o-cluster", "h2o-headless", 2, self.run, folder / "login"
        )
        self.now = 1000.0
        self.view = node.View("silent")
        self.peer: Member | None = Member("h2o-cluster-1", "peer", "waiting", frozenset(), "10.0.0.2")
        self.labels: list[str] = []
        self.guard = self.start_guard()

    def start_guard(self) -> Guard:
        return Guard(
            self.settings,
            look=lambda: self.view,
            ask=self.ask,
            label=self.labels.append,
            clock=lambda: self.now,
        )

    def ask(self, names: Mapping[str, str]) -> dict[str, Member | None]:
        assert names == {"h2o-cluster-1": "h2o-cluster-1.h2o-headless"}
        return {"h2o-cluster-1": self.peer}

    def rounds(self, count: int = 1, seconds: float = 1.0) -> None:
        for _ in range(count):
            self.now += seconds
            self.guard.round()

    @property
    def order(self) -> str:
        return (self.run / "order").read_text().strip()

    def process(self, state: str) -> None:
        (self.run / "process").write_text(f"{self.guard.state()['token']} {state}\n")

    def form(self) -> None:
        """Up to a whole cloud that this node leads."""
        self.rounds(2)
        self.process("running")
        together = frozenset({str(self.guard.state()["token"]), "peer"})
        self.peer = Member("h2o-cluster-1", "peer", "running", together, "10.0.0.2")
        self.view = node.View("whole", leads=True)
        self.rounds()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_it_starts_the_node_with_the_others_and_labels_the_leader(world: World) -> None:
    assert world.order == "-"
    world.form()
    assert world.order == world.guard.state()["token"]
    assert world.guard.ready()
    assert world.labels[-1] == "leader"
    assert (world.run / "flatfile").read_text() == "10.0.0.1:54321\n10.0.0.2:54321\n"


def test_the_login_file_holds_a_hash_that_only_its_owner_reads(world: World) -> None:
    world.form()
    realm = world.run / "realm.properties"
    assert realm.read_text().startswith("h2o: MD5:")
    assert PASSWORD not in realm.read_text()
    assert realm.stat().st_mode & 0o077 == 0


def test_a_peer_that_started_anew_makes_it_leave_and_start_anew(world: World) -> None:
    world.form()
    before = world.guard.state()["token"]
    world.peer = Member("h2o-cluster-1", "another", "waiting", frozenset(), "10.0.0.3")
    world.rounds()
    assert (world.order, world.guard.ready(), world.labels[-1]) == ("-", False, "member")
    world.rounds()
    assert world.guard.state()["phase"] == "leaving", "its process still runs"
    (world.run / "process").write_text(f"{before} ended\n")
    world.rounds(2)
    assert world.order == world.guard.state()["token"] != before


def test_a_process_that_died_makes_it_start_anew(world: World) -> None:
    world.form()
    world.view = node.View("gone")
    world.rounds()
    assert world.order == "-"


def test_a_busy_node_is_left_alone_but_not_ready(world: World) -> None:
    world.form()
    world.view = node.View("silent")
    world.rounds(300)
    assert world.guard.state()["phase"] == "running"
    assert not world.guard.ready()


def test_a_guard_that_restarts_remembers_its_cloud(world: World) -> None:
    world.form()
    before = world.guard.state()
    world.guard = world.start_guard()
    world.rounds()
    assert world.guard.state() == before


def test_a_guard_of_a_new_pod_does_not_run_what_the_old_one_did(world: World) -> None:
    world.form()
    before = world.guard.state()["token"]
    world.process("ended")
    world.guard = world.start_guard()
    assert world.order == "-"
    assert world.guard.state()["token"] != before


def test_a_pod_too_many_never_starts(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.settings = Settings(
        "h2o-cluster-2", "10.0.0.9", "ml", "h2o-cluster", "h2o-headless", 2, world.run, tmp_path / "login"
    )
    world.ask = lambda _: {}  # type: ignore[method-assign]
    world.guard = world.start_guard()
    world.rounds(5)
    assert world.order == "-"


def test_a_refused_label_is_tried_again(world: World) -> None:
    world.form()
    refused: list[str] = []

    def refuse(role: str) -> None:
        refused.append(role)
        raise OSError("no route")

    world.guard._label = refuse
    world.rounds(40)
    assert refused == ["leader"] * len(refused)
    assert len(refused) > 1


def answering(pages: dict[str, tuple[int, dict[str, Any]]]) -> tuple[ThreadingHTTPServer, int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = pages[self.path.partition("?")[0]]
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    return server, server.server_address[1]


def cloud(**changes: Any) -> dict[str, Any]:
    nodes = [{"max_mem": 100, "free_mem": 40, "mem_value_size": 10}] * 2
    whole = {"cloud_size": 2, "cloud_healthy": True, "locked": True, "leader_idx": 0, "node_idx": 0, "nodes": nodes}
    return {**whole, **changes}


@pytest.mark.parametrize(
    ("api", "leader", "state", "leads"),
    [
        ((200, cloud()), 200, "whole", True),
        ((200, cloud(node_idx=1)), 200, "whole", False),
        ((200, cloud(cloud_size=1)), 200, "forming", True),
        ((200, cloud(cloud_healthy=False)), 200, "broken", True),
        ((403, {}), 404, "whole", False),
        ((403, {}), 200, "forming", False),
        ((401, {}), 200, "silent", False),
    ],
)
def test_what_a_node_answers_is_understood(api: tuple[int, Any], leader: int, state: str, leads: bool) -> None:
    server, port = answering({"/3/Cloud": api, "/kubernetes/isLeaderNode": (leader, {})})
    try:
        view = node.look(PASSWORD, 2, rest=port, lead=port)
    finally:
        server.shutdown()
        server.server_close()
    assert (view.state, view.leads if state != "forming" else leads) == (state, leads)


def test_nothing_that_listens_is_a_process_that_is_gone() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert node.look(PASSWORD, 2, rest=port, lead=port).state == "gone"


def test_guards_tell_each_other_and_the_kubelet() -> None:
    me = Member("h2o-cluster-1", "t", "running", frozenset({"t", "u"}), "10.0.0.2")
    server = peers.serve(lambda: peers.told(me), {"/ready": lambda: False, "/live": lambda: True}, port=0)
    port = server.server_address[1]
    try:
        assert peers.ask({"h2o-cluster-1": "127.0.0.1"}, port) == {"h2o-cluster-1": me}
        assert peers.ask({"h2o-cluster-0": "127.0.0.1"}, port) == {"h2o-cluster-0": None}, "an address that moved on"
        with pytest.raises(urllib.error.HTTPError, match="503"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/ready")
        assert urllib.request.urlopen(f"http://127.0.0.1:{port}/live").status == 200
    finally:
        server.shutdown()
        server.server_close()
    assert peers.ask({"h2o-cluster-1": "127.0.0.1"}, port) == {"h2o-cluster-1": None}


@pytest.fixture
def container(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Shared]]:
    """The node's container, with a program in Java's place that writes down its arguments and waits."""
    java = tmp_path / "java"
    java.write_text(f'#!/bin/sh\necho $$ "$@" >> {tmp_path}/started\nexec sleep 600\n')
    java.chmod(0o755)
    (tmp_path / "run").mkdir()
    environment = {"H2O_RUN": str(tmp_path / "run"), "JAVA": str(java), "PATH": "/usr/bin:/bin"}
    command = [str(ROOT / "images/h2o/bin/h2o-node"), "-Xmx1g", "--", "-name", "h2o-cluster"]
    started = subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield started, Shared(tmp_path / "run")
    finally:
        started.terminate()
        started.communicate(timeout=20)


def eventually(holds: Any) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_the_container_runs_what_is_ordered_and_ends_with_a_process_that_died(
    container: tuple[subprocess.Popen[str], Shared], tmp_path: Path
) -> None:
    process, shared = container
    shared.order("one")
    eventually(lambda: shared.running() == "one")
    shared.order(None)
    eventually(lambda: shared.running() is None)
    assert process.poll() is None, "told to leave, it waits for the next order"
    shared.order("two")
    eventually(lambda: shared.running() == "two")
    lines = (tmp_path / "started").read_text().splitlines()
    eventually(lambda: len((tmp_path / "started").read_text().splitlines()) == 2)
    lines = (tmp_path / "started").read_text().splitlines()
    assert lines[1].split()[1:] == ["-Xmx1g", "-jar", "/opt/h2o/h2o.jar", "-name", "h2o-cluster"]
    subprocess.run(["kill", "-KILL", lines[1].split()[0]], check=True)
    eventually(lambda: process.poll() is not None)
    assert process.returncode == 137
    assert shared.running() is None
