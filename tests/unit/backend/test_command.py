"""`headroom backend` as a person runs it: a process of its own, and an AWS behind AWS_ENDPOINT_URL on loopback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

HEADROOM = Path(sys.executable).with_name("headroom")
WHERE = ["--bucket", "team-state", "--region", "eu-west-1"]

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    yield f"http://{host}:{port}"
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")).close()
    server.stop()


@pytest.fixture
def headroom(tmp_path: Path) -> Run:
    def run(*args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [HEADROOM, *args],
            cwd=tmp_path,
            env={**os.environ, "HOME": str(tmp_path), "COLUMNS": "200", **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    return run


def test_the_road_from_nothing_to_a_backend_and_back(headroom: Run, endpoint: str) -> None:
    made = headroom("backend", "init", *WHERE, "--format", "json")
    assert made.returncode == 0, made.stderr
    document: dict[str, Any] = json.loads(made.stdout)
    assert len(document["changes"]) == 9
    assert "✓ key alias/headroom-team-state" in made.stderr

    again = headroom("backend", "init", *WHERE)
    assert (again.returncode, "nothing to change" in again.stdout) == (0, True)

    s3 = boto3.Session(region_name="eu-west-1").client("s3")
    s3.delete_public_access_block(Bucket="team-state")
    drift = headroom("backend", "check", *WHERE)
    assert drift.returncode == 1
    assert "public access blocked: not set -> by all four switches" in drift.stdout
    repaired = headroom("backend", "init", *WHERE)
    assert "changed:\n  bucket team-state: public access blocked" in repaired.stdout

    s3.put_object(Bucket="team-state", Key=".pulumi/stacks/headroom/prod.json", Body=b"{}")
    refused = headroom("backend", "destroy", *WHERE, "--yes")
    assert refused.returncode == 1
    assert "holds the state of headroom/prod" in refused.stderr
    s3.delete_object(Bucket="team-state", Key=".pulumi/stacks/headroom/prod.json")
    gone = headroom("backend", "destroy", *WHERE, "--yes")
    assert gone.returncode == 0, gone.stderr
    assert s3.list_buckets()["Buckets"] == []


@pytest.mark.parametrize(
    ("args", "env", "code", "reason", "fix"),
    [
        (["--bucket", "Team_State", "--region", "eu-west-1"], {}, 2, "cannot name a bucket", "choose another --bucket"),
        (["--bucket", "team-state", "--region", "eu-west-9"], {}, 2, "is not an AWS region", "--region with one of"),
        ([*WHERE, "--profile", "nobody"], {}, 2, "nobody", "`aws configure list-profiles`"),
        (WHERE, {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, 1, "credentials", "aws sso login"),
        (WHERE, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, 1, "cannot be reached", "check the network"),
    ],
)
def test_bad_input_gets_a_reason_a_fix_and_no_traceback(
    headroom: Run, endpoint: str, args: list[str], env: dict[str, str], code: int, reason: str, fix: str
) -> None:
    result = headroom("backend", "init", *args, **env)
    assert result.returncode == code
    assert reason in result.stderr
    assert f"fix: {fix}" in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""
    assert boto3.Session(region_name="eu-west-1").client("s3").list_buckets()["Buckets"] == []


def test_a_policy_can_be_piped(headroom: Run) -> None:
    result = headroom("backend", "policy", "--for", "admin", *WHERE, "--account", "123456789012")
    assert json.loads(result.stdout)["Statement"][0]["Resource"] == "arn:aws:s3:::team-state"
    assert result.stderr == ""
