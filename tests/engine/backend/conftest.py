"""S3 and KMS of moto on loopback for the real Pulumi CLI, with a record of what it asks of them."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qs

import pytest
from moto.s3.models import FakeBucket
from moto.server import ThreadedMotoServer


@pytest.fixture(autouse=True)
def _moto_minds_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """moto does not evaluate `aws:SecureTransport` and lets a TLS-only policy deny everybody."""
    ask = FakeBucket.get_permission

    def over_tls(bucket: FakeBucket, action: str, resource: str) -> Any:
        policy = json.loads(bucket.policy or b'{"Statement": []}')
        policy["Statement"] = [s for s in policy["Statement"] if "Bool" not in s.get("Condition", {})]
        return ask(SimpleNamespace(policy=json.dumps(policy).encode()), action, resource)

    monkeypatch.setattr(FakeBucket, "get_permission", over_tls)


@dataclass
class Aws:
    """moto at `url`; `actions` are the IAM actions that its callers needed, `keys` the objects that they named."""

    url: str
    actions: set[str] = field(default_factory=set)
    keys: set[str] = field(default_factory=set)

    def record(self, environ: dict[str, Any]) -> None:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target.startswith("TrentService."):
            self.actions.add(f"kms:{target.removeprefix('TrentService.')}")
            return
        method, query = environ["REQUEST_METHOD"], parse_qs(environ["QUERY_STRING"], keep_blank_values=True)
        _, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        if not key:
            self.actions.add("s3:ListBucket" if (method, "list-type" in query) == ("GET", True) else f"{method} bucket")
            return
        self.keys.add(key)
        if "uploadId" in query and method == "DELETE":
            self.actions.add("s3:AbortMultipartUpload")
            return
        needed = {
            "GET": "GetObject",
            "HEAD": "GetObject",
            "PUT": "PutObject",
            "POST": "PutObject",
            "DELETE": "DeleteObject",
        }
        self.actions.add(f"s3:{needed[method]}")
        if "HTTP_X_AMZ_COPY_SOURCE" in environ:
            self.actions.add("s3:GetObject")

    def recorded(self) -> set[str]:
        """The actions since the last time."""
        actions, self.actions = self.actions, set()
        return actions


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Aws]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    aws = Aws(f"http://{host}:{port}")
    inner: Any = server._server
    application = inner.app

    def recording(environ: dict[str, Any], start_response: Any) -> Any:
        aws.record(environ)
        return application(environ, start_response)

    inner.app = recording
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws.url)
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    yield aws
    inner.app = application
    urllib.request.urlopen(f"http://{host}:{port}/moto-api/reset", data=b"").close()
    server.stop()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A project in the current folder, logged in to a backend of files; returns that backend's URL."""
    (tmp_path / "project").mkdir()
    (tmp_path / "state").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "pulumi"))
    monkeypatch.setenv("PULUMI_CONFIG_PASSPHRASE", "a test's")
    monkeypatch.setenv("PULUMI_SKIP_UPDATE_CHECK", "true")
    url = f"file://{tmp_path / 'state'}"
    monkeypatch.setenv("PULUMI_BACKEND_URL", url)
    return url


@pytest.fixture
def pulumi(home: str) -> Callable[..., str]:
    """Run the CLI, in the backend of files unless told otherwise; returns its standard output."""

    def pulumi(*args: str, stdin: str = "", backend: str = home) -> str:
        done = subprocess.run(
            ["pulumi", *args, "--non-interactive"],
            env={**os.environ, "PULUMI_BACKEND_URL": backend},
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
        return done.stdout

    return pulumi
