"""What is said of an object that failed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from headroom.engine import diagnose
from headroom.kubectl import Kubectl

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "pg-move-1", "namespace": "ns"},
    "spec": {"selector": {"matchLabels": {"job-name": "pg-move-1"}}},
}


def pod(exit_code: int) -> dict[str, Any]:
    ended = {"exitCode": exit_code, "reason": "Error" if exit_code else "Completed"}
    container = {"name": "move", "ready": False, "restartCount": 0, "state": {"terminated": ended}}
    return {
        "metadata": {"name": "pg-move-1-x", "namespace": "ns"},
        "status": {"phase": "Failed", "containerStatuses": [container]},
    }


class Cluster(Kubectl):
    """One pod, without events."""

    found: dict[str, Any]
    said = "moved 3\naborted: 17 of 85 buckets have moved\n"

    def run(self, *args: str, **_: Any) -> subprocess.CompletedProcess[str]:
        if args[0] == "logs":
            assert "--previous" not in args, "it ran once"
            return subprocess.CompletedProcess(args, 0, self.said, "")
        items = [self.found] if args[1] == "pods" else []
        return subprocess.CompletedProcess(args, 0, json.dumps({"items": items}), "")


def cluster(exit_code: int) -> Cluster:
    made = Cluster(Path("kubectl"), Path("kubeconfig"))
    object.__setattr__(made, "found", pod(exit_code))
    return made


def test_a_pod_that_failed_once_and_for_all_has_its_last_words() -> None:
    lines = diagnose.why(cluster(3), JOB)
    assert lines[0] == "pod pg-move-1-x is Failed: move: ended with exit code 3 (Error)"
    assert lines[-1].strip() == "aborted: 17 of 85 buckets have moved"


def test_a_container_that_did_its_work_has_none() -> None:
    assert len(diagnose.why(cluster(0), JOB)) == 1


class Telling(Cluster):
    """Its pod prints what no terminal should obey and nobody should read, and so does a probe of it."""

    said = (
        "-----BEGIN PRIVATE KEY-----\nMIIEhunter3\n-----END PRIVATE KEY-----\n"
        "connecting to postgresql://features:hunter2secret@pgbouncer:6432\r\n\x1b[1;31mno model\x1b[0m \x1bcat /model\n"
    )

    def run(self, *args: str, **more: Any) -> subprocess.CompletedProcess[str]:
        if args[:2] == ("get", "events"):
            event = {"reason": "Unhealthy", "message": f"Readiness probe failed: {self.said}"}
            return subprocess.CompletedProcess(args, 0, json.dumps({"items": [event]}), "")
        return super().run(*args, **more)


def test_what_pods_say_holds_no_password_and_moves_no_cursor() -> None:
    failed = pod(3)
    failed["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] = "Error\x1b]0;title\x07"
    made = Telling(Path("kubectl"), Path("kubeconfig"))
    object.__setattr__(made, "found", failed)
    lines = diagnose.why(made, JOB)
    text = "\n".join(lines)
    assert lines[-1] == "    no model at /model"
    assert text.count("postgresql://features:(hidden)@pgbouncer") == 3, "two events, and the log"
    assert "hunter" not in text
    assert text.replace("\n", "").isprintable()
    assert diagnose.in_short(made, JOB) == "move: ended with exit code 3 (Error)"
