"""Talking to a cluster's API server: kubectl with its own kubeconfig, and small questions without a process."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from headroom.errors import EnvironmentFailure
from headroom.local.processes import environment

Manifest = Mapping[str, Any]


@dataclass(frozen=True)
class Api:
    """The API server as its administrator sees it."""

    server: str
    state: Path

    def get(self, path: str, *, seconds: float = 5) -> tuple[int, bytes]:
        """GET a path: status and body. Raises OSError when nobody listens."""
        context = ssl.create_default_context(cafile=str(self.state / "pki" / "ca.crt"))
        context.load_cert_chain(self.state / "pki" / "admin.crt", self.state / "pki" / "admin.key")
        place = urlsplit(self.server)
        connection = http.client.HTTPSConnection(place.hostname or "", place.port, timeout=seconds, context=context)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (http.client.HTTPException, ssl.SSLError) as problem:
            raise ConnectionError(str(problem)) from problem
        finally:
            connection.close()

    def items(self, path: str) -> list[dict[str, Any]]:
        """The objects of a list. Raises OSError when nobody listens or the answer is not a list."""
        status, body = self.get(path)
        if status != http.HTTPStatus.OK:
            raise ConnectionError(f"{path} answered {status}")
        return list(json.loads(body)["items"])

    def ok(self, path: str) -> bool:
        """Whether a path answers 200."""
        try:
            return self.get(path)[0] == http.HTTPStatus.OK
        except OSError:
            return False


def kubectl(state: Path, program: Path, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
    """What the cluster's kubectl prints, run as administrator. Raises EnvironmentFailure with its words."""
    command = [str(program), "--kubeconfig", str(state / "kubeconfig"), *arguments]
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, check=False, timeout=seconds, env=environment(state)
        )
    except subprocess.TimeoutExpired as problem:
        raise EnvironmentFailure(
            f"kubectl {arguments[0]} had no answer in {seconds:.0f} s", fix="headroom local status, or down and up"
        ) from problem
    if done.returncode:
        raise EnvironmentFailure(
            f"kubectl {arguments[0]}: {done.stderr.strip()}", fix="headroom local status, or down and up"
        )
    return done.stdout


def apply(state: Path, program: Path, manifests: Sequence[Manifest], *files: Path) -> None:
    """Apply objects and files of objects, server-side, as the owner `headroom-local`."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
    named = [argument for file in files for argument in ("-f", str(file))]
    kubectl(
        state,
        program,
        *("apply", "--server-side", "--force-conflicts", "--field-manager=headroom-local", "--validate=false"),
        *named,
        *(["-f", "-"] if manifests else []),
        stdin=text,
    )
