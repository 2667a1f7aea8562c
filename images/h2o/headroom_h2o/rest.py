"""H2O's REST API, as much of it as saving and loading takes."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from headroom_h2o.node import CLOUD, authorization

POLL_SECONDS = 0.5


class H2OError(Exception):
    """H2O refused, or a job of it failed; the words are H2O's."""


@dataclass(frozen=True)
class Api:
    """The leader's API."""

    host: str
    port: int
    password: str
    timeout: float = 600.0

    def get(self, where: str, /, **parameters: Any) -> dict[str, Any]:
        """A GET. Raises H2OError, OSError."""
        return self._call("GET", where + (f"?{urlencode(parameters)}" if parameters else ""), None)

    def post(self, where: str, /, **parameters: Any) -> dict[str, Any]:
        """A POST of form fields; lists are written as H2O reads them, `[a,b]`. Raises H2OError, OSError."""
        return self._call("POST", where, urlencode({k: _text(v) for k, v in parameters.items()}))

    def size(self) -> int:
        """Nodes of the cloud, 0 where it is not healthy. Raises H2OError, OSError."""
        cloud = self.get(CLOUD)
        return int(cloud["cloud_size"]) if cloud["cloud_healthy"] else 0

    def wait(self, job: Mapping[str, Any]) -> None:
        """Until a job has ended. Raises H2OError where it failed."""
        key = quote(job["key"]["name"], safe="")
        while job["status"] in ("CREATED", "RUNNING"):
            time.sleep(POLL_SECONDS)
            job = self.get(f"/3/Jobs/{key}")["jobs"][0]
        if job["status"] != "DONE":
            raise H2OError(f"{job.get('description', key)}: {job.get('exception') or job['status']}")

    def _call(self, method: str, path: str, body: str | None) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=self.timeout)
        headers = authorization(self.password)
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read()
        except http.client.HTTPException as error:
            raise H2OError(f"{method} {path}: {error!r}") from error
        finally:
            connection.close()
        try:
            found = json.loads(text) if text else {}
        except ValueError:
            found = {}
        if answer.status >= HTTPStatus.BAD_REQUEST:
            said = found.get("msg") or found.get("exception_msg") or "" if isinstance(found, dict) else ""
            raise H2OError(f"{method} {path.partition('?')[0]}: {answer.status} {said}".strip())
        return dict(found)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return "[" + ",".join(json.dumps(v, ensure_ascii=False) for v in value) + "]"
    return str(value)
